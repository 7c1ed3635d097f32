"""A real browser: Chromium as it is installed, driven by Playwright."""

import functools
import http.server
import os
import shutil
import threading

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs `make test-browser`")
    if CHROMIUM is None:
        pytest.skip("no Chromium found: CHROMIUM=/path/to/it names one")
    with api.sync_playwright() as driver:
        # Without a sandbox of its own, as it must be where everything runs as root.
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def complaints():
    """What a page writes to its console as an error, and what it cannot load."""
    return []


@pytest.fixture
def page(browser, complaints, request):
    """A new window, 1,280 pixels wide unless the test says otherwise, without a network."""
    width, height = getattr(request, "param", (1280, 900))
    context = browser.new_context(viewport={"width": width, "height": height})
    context.route(
        lambda url: not url.startswith(("http://127.0.0.1", "http://localhost", "file:", "data:")),
        lambda route: (complaints.append(f"network: {route.request.url}"), route.abort()),
    )
    one = context.new_page()
    one.set_default_timeout(120_000)  # a machine may do other things, too
    one.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    one.on("pageerror", lambda error: complaints.append(str(error)))
    yield one
    context.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def serve():
    """Serves a folder at an address of this machine: a folder -> its address."""
    servers = []

    def start(folder):
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
