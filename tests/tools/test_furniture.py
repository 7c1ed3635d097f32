"""Workflows, templates and containers: they can be read, and ask for what there is."""

import json
import re

import pytest
import yaml
from stamp import ROOT

FILES = sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"])
TARGETS = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_can_be_read_and_calls_targets_that_exist(path):
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    assert set(re.findall(r"make ([a-z./-]+)", text)) <= TARGETS


def test_the_container_makes_the_environment():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    assert json.loads(text)["postCreateCommand"].removeprefix("make ") in TARGETS


def test_binder_installs_what_the_project_pins():
    text = (ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8")
    *_, pip = yaml.safe_load(text)["dependencies"]
    assert pip["pip"] == ["-c ../constraints.txt", "-e ..[course]"]


def test_no_package_registry_is_named():
    for path in [*FILES, *(ROOT / ".devcontainer").iterdir(), *(ROOT / ".binder").iterdir()]:
        assert "://" not in path.read_text(encoding="utf-8"), path.name
