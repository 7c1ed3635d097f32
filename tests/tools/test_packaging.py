"""pyproject.toml, environment.yml and the lists of exact versions say the same."""

import re
import subprocess
import tomllib
import zipfile

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from notebook_lint import MACHINE_PATH
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from stamp import ROOT

import vae_tf

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(line) for line in sum(EXTRAS.values(), PROJECT["dependencies"])]
INSTALLERS = ["Makefile", ".ci/run", "constraints.txt", "colab-constraints.txt", "environment.yml"]


def pins(name):
    """{project: exact version} of a list of constraints."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(project): version for project, version in pairs}


def conda():
    """The dependencies of environment.yml: those of conda, and those of its pip section."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    *packages, pip = yaml.safe_load(text)["dependencies"]
    return dict(package.partition("=")[::2] for package in packages), pip["pip"]


def tracked():
    """The text files of the repository (notebooks have rules of their own)."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in listed.stdout.splitlines() if not line.endswith(".ipynb")]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]


def test_conda_and_pip_take_the_same_python():
    python = conda()[0]["python"]
    assert python == "3.12"
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")


def test_conda_installs_the_project_with_the_same_exact_versions():
    packages, pip = conda()
    assert pip == ["-c constraints.txt", f"-e .[{','.join(EXTRAS)}]"]
    assert packages.keys() == {"python", "pip"}, "all else comes from pyproject.toml"


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_each_dependency_is_pinned_within_its_range(requirement):
    version = pins("constraints.txt")[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_what_colab_preloads_lies_within_each_range(requirement):
    version = pins("colab-constraints.txt").get(canonicalize_name(requirement.name))
    assert version is None or requirement.specifier.contains(version)


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert vae_tf.__version__ == str(citation["version"])
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == vae_tf.__version__


def test_the_wheel_is_whole(tmp_path):
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as wheel:
        inside = {name for name in wheel.namelist() if "dist-info" not in name}
    assert f"vae_tf-{vae_tf.__version__}-" in path
    assert {str(file.relative_to(ROOT)) for file in (ROOT / "vae_tf").rglob("*.py")} <= inside
    assert "vae_tf/py.typed" in inside, "type checkers look at the annotations"
    data = {f"{file.parent.name}/{file.name}" for file in (ROOT / "data").rglob("*.npz")}
    results = {f"{file.parent.name}/{file.name}" for file in (ROOT / "data/results").glob("*.json")}
    assert {f"vae_tf/_files/{name.removeprefix('data/')}" for name in data | results} <= inside


@pytest.mark.parametrize("name", INSTALLERS)
def test_no_package_index_is_named(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


def test_no_path_of_a_machine():
    found = {path.name: MACHINE_PATH.findall(path.read_text("utf-8")) for path in tracked()}
    assert {name: paths for name, paths in found.items() if paths} == {}
