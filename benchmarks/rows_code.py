"""What well-known code makes of the KL: counted twice."""

import json

from peer_environment import CACHE, ask, peer_python
from table import FOLDER, Check, Measured, NotRun

ENVIRONMENT = CACHE / "peers"


def doubled_kl(environment):
    """What TensorFlow Probability's Keras layers add to a loss, in units of the KL."""
    python = peer_python(environment, "requirements.txt", "2.2 GB")
    answer = ask([python, FOLDER / "peers" / "doubled_kl.py"])
    if answer.returncode:
        raise NotRun(f"benchmarks/peers/doubled_kl.py failed: {answer.stderr[-300:].strip()}")
    found = json.loads(answer.stdout)
    return Measured(_doubled_checks(found), (0,), found)


def _doubled_checks(found):
    double, batch = sum(found["regularizer"]) / found["kl"], found["batch"]
    total = sum(found["add_loss"]) / found["kl"]
    quantity, because = "{}, loss over mean KL", "float32 sums"
    one, other = map(quantity.format, ("KLDivergenceRegularizer", "KLDivergenceAddLoss"))
    bounds = batch * (1 - 1e-4), batch * (1 + 1e-4)
    return [
        Check(one, "2.0000", double, 1.9999, 2.0001, because),
        Check("losses it registers", "2", len(found["regularizer"]), 2, 2, "a count"),
        Check(f"{other}, batch of {batch}", "4096 for 4096", total, *bounds, because),
    ]
