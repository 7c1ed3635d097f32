"""Several devices and several machines: the ELBO, loss and weights of one device, to 1e-5.

Two logical devices stand for two GPUs, two processes on this machine for two machines. Processes
of their own, because devices are set before TensorFlow starts; `distributed.py` is what they run.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vae_tf as vt

HERE = Path(__file__).parent
GUIDE = HERE.parent / "docs" / "how_to" / "several_machines.md"
CASES = ("array", "batches", "dataset", "noise", "steps", "draws")
REPLICAS = ("devices", "worker 0", "worker 1")
LIMIT = 400  # seconds: who is not done by then hangs


def addresses(count):
    """Free ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def as_workers(count):
    """The environment of each of `count` processes that train together."""
    cluster = {"worker": addresses(count)}
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})}
        for i in range(count)
    ]


def run_together(commands, environments, folder, limit=LIMIT):
    """Runs processes side by side and returns what they printed; none outlives this call."""
    plain = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    plain |= {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(Path(vt.__file__).parents[1])}
    end, processes, files = time.monotonic() + limit, [], []
    try:
        for i, (command, own) in enumerate(zip(commands, environments, strict=True)):
            files.append(open(folder / f"{i}.txt", "w+"))  # a pipe that is full would block
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=folder,
                    env={**plain, **own},
                    stdout=files[-1],
                    stderr=subprocess.STDOUT,
                )
            )
        while any(process.poll() is None for process in processes):
            if time.monotonic() > end or any(process.poll() for process in processes):
                break  # one that failed leaves the other waiting for it
            time.sleep(0.1)
        codes = [process.poll() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    texts = []
    for file in files:
        with file:
            file.seek(0)
            texts.append(file.read())
    assert codes == [0] * len(codes), f"{codes}\n" + "\n".join(text[-2000:] for text in texts)
    return texts


def trained(folder):
    """who: {case: {name: value}}, as each way of training has written it."""

    def run(kinds, names, environments):
        script = str(HERE / "distributed.py")
        commands = [
            (script, kind, str(folder / name)) for kind, name in zip(kinds, names, strict=True)
        ]
        run_together(commands, environments, folder)

    run(["one", "mirrored"], ["one", "devices"], [{}, {}])
    run(["workers"] * 2, ["worker 0", "worker 1"], as_workers(2))
    results = {}
    for who in ("one", *REPLICAS):
        results[who] = {case: {} for case in CASES}
        with np.load(folder / f"{who}.npz") as values:
            for key in values:
                case, name = key.split(": ")
                results[who][case][name] = values[key]
    return results


def assert_equal(several, one, what):
    assert several.keys() == one.keys(), what
    for name in one:
        message = f"{what}: {name}"
        np.testing.assert_allclose(several[name], one[name], rtol=1e-5, atol=1e-6, err_msg=message)


def test_two_devices_and_two_processes_train_and_report_as_one_device(tmp_path):
    # One test: what it compares takes half a minute to make.
    results = trained(tmp_path)
    one = results["one"]

    # What is compared is all there, and training has moved it.
    terms = ("loss", "elbo", "reconstruction", "kl")
    wanted = {f"{w}{t}" for w in ("history ", "evaluate ", "saved evaluate ") for t in terms}
    wanted |= {f"history val_{t}" for t in terms} | {"predict"}
    assert wanted == {name for name in one["array"] if not name.startswith("weight")}
    for case in ("array", "batches", "dataset"):
        first, second = one[case]["history loss"]
        assert second < first - 0.05, case

    # The equality itself, and files that were written under a strategy, read without one.
    for who in REPLICAS:
        for case in ("array", "batches", "dataset", "noise"):
            assert_equal(results[who][case], one[case], f"{who}, {case}")
        for name in terms:
            saved, evaluated = (
                results[who]["array"][f"{w} {name}"] for w in ("saved evaluate", "evaluate")
            )
            np.testing.assert_allclose(saved, evaluated, rtol=1e-5, err_msg=f"{who}: {name}")
        # No array path under a strategy: each call takes one step.
        assert results[who]["steps"] == {"array": 1, "batches": 1, "dataset": 1}, who

    # No two replicas and no two steps draw the same noise; machines count replicas as devices do.
    devices = results["devices"]["draws"]["z"]  # [steps, replicas, L]
    workers = np.concatenate([results[f"worker {i}"]["draws"]["z"] for i in range(2)], axis=1)
    for z in (devices, workers):
        assert z.shape == (2, 2, 3) and len(np.unique(z)) == z.size
    np.testing.assert_allclose(workers, devices, rtol=1e-5)


def test_the_guide_to_several_machines_runs_between_two_processes(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    script = tmp_path / "train.py"
    script.write_text(code, encoding="utf-8")
    printed = run_together([(str(script),)] * 2, as_workers(2), tmp_path)
    figures = [re.findall(r"elbo -?\d+\.\d+", text) for text in printed]
    assert figures[0] == figures[1] and len(figures[0]) == 1
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == ["vae_0.keras", "vae_1.keras"]


def test_a_process_that_hangs_is_ended(tmp_path):
    commands = [("-c", "import time; time.sleep(60)"), ("-c", "pass")]
    begin = time.monotonic()
    with pytest.raises(AssertionError, match="None, 0"):
        run_together(commands, [{}, {}], tmp_path, limit=2)
    assert time.monotonic() - begin < 10
