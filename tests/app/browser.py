"""The app as a process whose network is cut, and headless Chromium, for tests of both."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1300,1000",
)
PATIENCE = 90  # seconds; a busy machine is slow
# Python imports it at the start of each process: of the app, and of all that the app starts.
GUARD = """
import os, sys
log = os.open(os.environ["NPSRCNN_GUARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def say(*words):
    os.write(log, (" ".join(map(str, words)) + chr(10)).encode())
def local(host):
    return host in (None, "", "localhost", "0.0.0.0", "::1") or str(host).startswith("127.")
def guard(event, arguments):
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not local(host.decode() if isinstance(host, bytes) else host):
        say("REACHED OUT", host, sys.argv)
        raise OSError("no network")
sys.addaudithook(guard)
say("GUARDED", os.getpid(), *sys.orig_argv[1:4])
"""


# Gradio logs that somebody named a file that no upload made.
REFUSED = "gradio.exceptions.InvalidPathError: "


def failures(said):
    """Return the last line of each traceback that an app has printed, but of refused paths."""
    lasts = re.findall(r"Traceback(?:.*\n(?:[ \t|].*\n)*(.*))?", said)
    return [line for line in lasts if not line.startswith(REFUSED)]


class App:
    """A running app: its address, what it has said, its processes, and where its files are."""

    def __init__(self, process, said, guard, folder):
        self._process, self._said, self._guard = process, said, guard
        self.folder = folder
        wait_until(lambda: "is at http" in self.said, lambda: self.said)
        self.address = self.said.split(" is at ")[1].split()[0].rstrip("/")

    @property
    def said(self):
        assert self._process.poll() is None, self._said.read_text()
        return self._said.read_text()

    def started(self, module=""):
        """Process numbers of what it has started, with the network cut, of that name."""
        lines = [line.split() for line in self._guard.read_text().splitlines()]
        return [
            int(words[1])
            for words in lines
            if words[0] == "GUARDED" and (not module or module in words[2:])
        ]

    def running(self, module):
        """Those that still run: a process that has ended has no command line."""
        return [number for number in self.started(module) if is_running(number)]

    @property
    def tabs(self):
        return list(self.folder.glob("npsrcnn-app-*/tab-*"))


def is_running(number):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes() != b""
    return False


@contextlib.contextmanager
def running_app(*arguments):
    """Start the app; at the end nothing of it is left."""
    pytest.importorskip("gradio", reason="the app needs gradio")
    folder, notes = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    said, guard = notes / "said.txt", notes / "guard.txt"
    (notes / "sitecustomize.py").write_text(GUARD)
    paths = [str(notes), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "NPSRCNN_GUARD": str(guard),
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "npsrcnn", "app", "--no-browser", "--port", port, *arguments]
    with open(said, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        app = App(process, said, guard, folder)
        yield app
        process.terminate()
        assert process.wait(PATIENCE) == 0, said.read_text()
        left = [path.name for path in folder.rglob("*") if path.is_file()]
        assert left == []  # no upload and no result; Gradio leaves an empty folder
        assert failures(said.read_text()) == []
        assert "REACHED OUT" not in guard.read_text(), guard.read_text()
        assert process.pid in app.started("app")
        wait_until(lambda: not any(map(is_running, app.started(""))))
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(notes)


@contextlib.contextmanager
def running_browser():
    """Start Chromium; at the end its console holds no error, and it fetched nothing elsewhere."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("no chromium with chromedriver: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = programs[0]
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
        try:
            yield driver
            check_browser(driver)
        finally:
            driver.quit()


def check_browser(driver, but=()):
    """Assert that nothing went wrong on a page, and that it asked only this machine.

    ``but`` are parts of messages that do not count. (Addresses of chrome are Chromium's own.)
    """
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    errors = [text for text in errors if not any(part in text for part in but)]
    assert errors == [], errors
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            address = message["params"]["request"]["url"]
            assert address.startswith(("http://127.0.0.1:", "data:", "blob:", "file:", "chrome")), (
                address
            )


def wait_until(condition, tell=lambda: ""):
    """Return what ``condition()`` returns once that is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited for {PATIENCE} s: {tell()}")


class Page:
    """What a person does on the page."""

    # Gradio's script says so where a page is left while a handler still has more to show.
    LEFT = ("AbortError: ", '"Connection errored out. "')

    def __init__(self, driver, address):
        self.driver = driver
        driver.get(address)
        self.find("#enlarge")

    def find(self, selector, label=""):
        """Return the first element that a person sees, its pictures loaded; with that text."""
        # One script, not element by element: Gradio replaces elements meanwhile.
        seen = """return [...document.querySelectorAll(arguments[0])].find(
            one => one.checkVisibility({visibilityProperty: true}) && one.complete !== false
            && (!arguments[1] || one.innerText.trim() === arguments[1]))"""
        return wait_until(
            lambda: self.driver.execute_script(seen, selector, label),
            lambda: f"{selector}: {self.text('body')}",
        )

    def text(self, selector):
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return self.driver.execute_script(script, selector)

    def wait_for(self, selector, *texts):
        """Return a text once it contains one of ``texts``."""
        wait_until(
            lambda: any(text in self.text(selector) for text in texts),
            lambda: f"{selector} says {self.text(selector)!r}, not {texts}",
        )
        return self.text(selector)

    def leave(self):
        """Close the page, on which nothing went wrong until then."""
        check_browser(self.driver)
        self.driver.get("about:blank")
        check_browser(self.driver, but=self.LEFT)

    def download(self, selector, folder, name):
        """Press a button, and return what the browser has saved under that name."""
        saved = {"behavior": "allow", "downloadPath": str(folder)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", saved)
        self.find(selector).click()
        wait_until((folder / name).exists, lambda: str(list(folder.iterdir())))
        return (folder / name).read_bytes()

    def press(self, selector):
        """Press a button by the enter key; a click misses one that a new line above moves."""
        self.find(selector).send_keys("\ue007")

    def tab(self, name):
        self.find("button[role=tab]", name).click()

    def choose(self, group, label):
        """Choose one of radio buttons."""
        self.find(f"{group} label", label).click()

    def upload(self, selector, *paths):
        """Drop files, and wait until the page lists them."""
        self.find(selector)
        field = self.driver.find_element("css selector", f"{selector} input[type=file]")
        field.send_keys("\n".join(map(str, paths)))
        self.wait_for(selector, Path(paths[-1]).stem)
