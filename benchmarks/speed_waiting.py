"""How long does a reader wait? From the start of the interpreter to the end of a training.

Every training is the only one of a fresh process: an epoch is a cold start, longer ones show when
compiling pays. The same model through `fit`, through the `fit` of Keras, and in PyTorch.
"""

import numpy as np
import speed_contenders as contenders
import table
from speed_contenders import LABELS, Process, at_least, at_most, ratio

NAMES = "auto", "keras", "torch"
LATER = 1.05  # the first epoch of `fit` over that of Keras' own, at most
FULL = {"images": 4000, "lengths": ((1, 3), (10, 2), (100, 2))}  # epochs, and rounds of them
QUICK = {"images": 300, "lengths": ((1, 1), (3, 1))}

LONG = 2000  # steps, from which on `fit` shall not be slower than PyTorch


def measure(python, folder, *, images, lengths):
    import speed_protocol as protocol

    record = {"lengths": [], "missing": [], "images": images}
    np.save(folder / "x.npy", contenders.digits(images))
    np.savez(folder / "first.npz", *protocol.first_weights(50))
    names = [name for name in NAMES if contenders.CONTENDERS[name].ours or python]
    for epochs, rounds in lengths:
        answers = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                answers[name].append(_wait(name, python, folder, epochs))
        times = {
            what: {name: [one[what] for one in of] for name, of in answers.items()}
            for what in ("all", "import", "training")
        }
        contenders.show(f"{epochs} epochs, from the start of the interpreter", times["all"])
        steps = epochs * -(-images // 128)
        record["lengths"].append({"epochs": epochs, "steps": steps, "seconds": times})
    return record


def _wait(name, python, folder, epochs):
    """Seconds: all, the imports, and the training alone."""
    contender = contenders.CONTENDERS[name]
    with Process(contender, None if contender.ours else python) as process:
        process.greet()
        imports = process.now()
        process.ask("prepare", x=folder / "x.npy", batch=128, weights=folder / "first.npz")
        answer = process.ask("train", epochs=epochs)
        found = {"all": process.now(), "import": imports, "training": answer["seconds"]}
    return {what: round(value, 3) for what, value in found.items()}


def checks(record):
    found = []
    for one in record["lengths"]:
        times, where = one["seconds"], f"{one['epochs']} epochs"
        if one["epochs"] == 1:
            quantity = "interpreter to the first epoch's end, `fit` over plain Keras"
            because = "not worse, but for the scatter of the same thing measured twice"
            off = ratio(times["all"], "auto", "keras")
            found.append(at_most(quantity, off, LATER, because))
            continue
        quantity = f"{LABELS['keras']} over `fit`, compiling included, {where}"
        found.append(at_least(quantity, ratio(times["training"], "keras", "auto"), 1.0))
        if "torch" in times["training"] and one["steps"] >= LONG:
            off = ratio(times["training"], "torch", "auto")
            quantity = f"{LABELS['torch']} over `fit`, compiling included, {where}"
            found.append(at_least(quantity, off, 1.0))
    return found


def render(record):
    names = [name for name in NAMES if name in record["lengths"][0]["seconds"]["all"]]
    lines = table._head("seconds, batch 128, L = 50", *(LABELS[name] for name in names))
    for one in record["lengths"]:
        for what, words in (
            ("all", "interpreter to the end of {}"),
            ("import", "of that, imports"),
            ("training", "of that, the call of `fit` for {}"),
        ):
            epochs = "1 epoch" if one["epochs"] == 1 else f"{one['epochs']} epochs"
            middle = (f"{np.median(one['seconds'][what][name]):.2f}" for name in names)
            if what != "import" or one is record["lengths"][0]:
                lines.append(table._line(words.format(epochs), *middle))
    return lines
