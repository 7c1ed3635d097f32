"""A lesson in JupyterLab, as a student uses it: Run All, a slider, an exercise wrong and right."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from stamp import ROOT

RUN_ALL_S = 600  # for a machine that does other things, too
WAITING = "[...document.querySelectorAll('.jp-InputPrompt')].some(e => /\\*/.test(e.innerText))"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the lessons: address of a file name."""
    home = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "data"):
        shutil.copytree(ROOT / name, home / name)
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # All cells are in the page, so that a test can look at those out of sight.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    options = [
        f"--ServerApp.root_dir={home}",
        f"--ServerApp.port={port}",
        f"--IdentityProvider.token={token}",
        f"--LabApp.user_settings_dir={home / 'settings'}",
        f"--LabApp.workspaces_dir={home / 'workspaces'}",
        "--LabApp.news_url=None",
        "--allow-root",
        "--no-browser",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stderr=log, stdout=log
        )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api?token={token}", timeout=5)
            break
        except OSError:
            time.sleep(1)
    else:
        raise RuntimeError((home / "log").read_text())
    yield lambda name: f"{address}/lab/tree/notebooks/{name}.ipynb?token={token}&reset"
    server.terminate()
    server.wait(30)


class Lesson:
    """A lesson that is open in JupyterLab."""

    def __init__(self, page, address):
        self.page = page
        page.goto(address)
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        page.get_by_text(") | Idle").wait_for()  # a kernel is there
        for name in ("Accept", "Dismiss"):  # news and the like
            if (button := page.get_by_role("button", name=name)).count():
                button.first.click()

    def run_all(self):
        self.page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        self.page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        self.page.wait_for_function(WAITING)
        self.wait()

    def wait(self):
        """Until no cell is waiting or running."""
        self.page.wait_for_timeout(500)
        self.page.wait_for_function(f"!({WAITING})", timeout=RUN_ALL_S * 1000, polling=1000)

    def cell(self, text):
        """The code cell that holds a text."""
        return self.page.locator(".jp-CodeCell", has_text=text).first

    def replace(self, text, source):
        """Writes another source into the cell that holds a text, runs it and the one after it."""
        editor = self.cell(text).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")
        self.page.keyboard.press("Shift+Enter")
        self.wait()

    def errors(self):
        mark = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type$='stderr']"
        return self.page.locator(mark).all_inner_texts()


@pytest.fixture
def lesson(lab, page):
    return lambda name: Lesson(page, lab(name))


def picture(cell):
    """The source of the figure that a cell shows."""
    return cell.locator(".jp-OutputArea img").first.get_attribute("src")


def test_a_student_works_through_the_gap(lesson):
    one = lesson("03_the_gap")
    started = time.perf_counter()
    one.run_all()
    print(f"Run All of lesson 03: {time.perf_counter() - started:.0f} s")
    assert one.errors() == []
    assert one.page.locator(".jp-OutputArea img").count() >= 8

    control = one.cell("interact(gap_control")
    control.scroll_into_view_if_needed()
    before = picture(control)
    handle = control.locator(".noUi-handle").first
    handle.focus()
    for _ in range(8):
        one.page.keyboard.press("ArrowRight")
    one.page.wait_for_timeout(3000)
    assert picture(control) != before

    stub = "covariance = np.diag([0.25, 0.04])\nshift = np.array([0.6, -0.3])\n"
    following = "xpath=following-sibling::*[contains(@class, 'jp-CodeCell')][1]"
    verdict = one.cell("shift = np.array([0.6").locator(following).locator(".jp-OutputArea")
    assert "not attempted" in verdict.inner_text()
    one.replace("answer_1 = ...", stub + "answer_1 = 0.5 * shift @ shift")
    assert "wrong" in verdict.inner_text()
    one.replace(
        "answer_1 = 0.5", stub + "answer_1 = 0.5 * shift @ np.linalg.inv(covariance) @ shift"
    )
    assert "ok" in verdict.inner_text()


def test_the_first_lesson_runs(lesson):
    one = lesson("00_notation")
    one.run_all()
    assert one.errors() == []
    assert one.page.locator(".jp-OutputArea img").count() >= 4
