# Set-up, the same in every notebook. Where vae_tf can be imported already, it installs nothing.
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = ""  # "owner/name" on GitHub; `make stamp` writes it
if getattr(find_spec("vae_tf"), "origin", None) is None:  # an empty folder is no package
    wheel = [str(path) for path in Path.cwd().glob("vae_tf-*.whl")][:1]
    above = [str(path) for path in Path.cwd().parents if (path / "vae_tf/__init__.py").exists()]
    assert wheel or above or REPOSITORY, "Expected REPOSITORY = 'owner/name'. Received: ''"
    sys.path += above[:1]
    if wheel or not above:  # without dependencies, so that nothing preloaded changes
        pip = [sys.executable, *"-m pip install -qq --no-deps arviz-stats".split()]
        subprocess.check_call(pip + (wheel or [f"https://github.com/{REPOSITORY}/archive/main.zip"]))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
stderr = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow greets before it reads that level
import vae_tf as vt

os.dup2(stderr, 2)
print(vt.about())
