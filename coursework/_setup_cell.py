# @title Set-up: finds vae_tf and otter-grader, or installs them; nothing else changes
import glob, importlib.util, subprocess, sys
sys.path += ["..", "../.."]  # where a clone has it
pip = [sys.executable, *"-m pip install -qq --no-deps".split()]
if not getattr(importlib.util.find_spec("vae_tf"), "origin", None):  # an empty folder is no package
    found = glob.glob("vae_tf-*.whl") or ["https://github.com/OWNER/NAME/archive/main.zip"]
    subprocess.call([*pip, "arviz-stats", *found])
if not importlib.util.find_spec("otter"):
    subprocess.call(pip + "otter-grader==7.0.0 dill fica ipylab pandas python-frontmatter".split())
import otter, vae_tf as vt; print(vt.about())
grader = otter.Notebook(tests_dir="tests")
