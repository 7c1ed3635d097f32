# @title Set-up: finds vae_tf above or installed, else installs the wheel beside it, or from GitHub
import glob, importlib.util, subprocess, sys
sys.path += ["..", "../.."]  # where a clone has it
if not getattr(importlib.util.find_spec("vae_tf"), "origin", None):  # an empty folder is no package
    found = glob.glob("vae_tf-*.whl") or ["https://github.com/OWNER/NAME/archive/main.zip"]
    subprocess.call([sys.executable, *"-m pip install -qq --no-deps arviz-stats".split(), *found])
import vae_tf as vt; print(vt.about())
