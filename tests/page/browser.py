# SPDX-License-Identifier: MIT
"""A headless Chromium, driven through its own protocol over a pipe: no driver, no port, no package.

The browser reads messages on its descriptor 3 and answers on 4, each a JSON text that ends with a
zero byte. It gets a profile of its own, and no network: each request that is no file is noted.

Invariants: nothing sleeps to let something happen; what is waited for is asked for until it is so,
for a bounded time.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

ROOT = Path(__file__).resolve().parents[2]
LIMIT = float(os.environ.get("MPROFILE_TEST_LIMIT") or 120)
KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "Backspace": ("Backspace", 8, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "Tab": ("Tab", 9, ""),
}


def find_browser() -> Optional[str]:
    names = (os.environ.get("MPROFILE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


class Browser:
    """One process; `open` gives pages."""

    def __init__(self, folder: Path) -> None:
        path = find_browser()
        assert path, "no Chromium: tests/setup --tests installs it"
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = [
            path,
            "--headless=new",
            "--no-sandbox",
            "--remote-debugging-pipe",
            "--user-data-dir=%s" % (folder / "profile"),
            "--no-first-run",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--force-color-profile=srgb",
            "about:blank",
        ]

        def arrange() -> None:
            # Out of the way first, for either may lie on the other's place.
            low, high = os.dup(to_read), os.dup(to_write)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=arrange,
            close_fds=False,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._seen = b""
        self._number = 0
        self.events: List[Dict[str, Any]] = []

    def call(self, method: str, session: Optional[str] = None, **parameters: Any) -> Any:
        """One command and its answer; events that come meanwhile are kept."""
        self._number += 1
        message: Dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + LIMIT
        while True:
            answer = self._message(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, "%s: %s" % (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _message(self, end: float) -> Dict[str, Any]:
        while b"\0" not in self._seen:
            left = max(0.0, end - time.monotonic())
            assert select.select([self._read], [], [], left)[0], "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser ended (%s)" % self._process.poll()
            self._seen += piece
        text, _, self._seen = self._seen.partition(b"\0")
        found: Dict[str, Any] = json.loads(text)
        return found

    def open(self, path: Any, width: int = 1280, height: int = 800, **look: Any) -> "Page":
        return Page(self, Path(path), width, height, **look)

    def close(self) -> None:
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            self._process.kill()
        self._process.wait(LIMIT)
        os.close(self._write)
        os.close(self._read)


class Page:
    """A page in a tab, ready to be used."""

    def __init__(
        self, browser: Browser, path: Path, width: int, height: int, dark: bool = False, phone: bool = False
    ) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self.target, self.session = target, attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        self.size(width, height, phone)
        self.media(dark)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.body && document.body.classList.contains('ready')")
        self.settle()

    def call(self, method: str, **parameters: Any) -> Any:
        return self.browser.call(method, self.session, **parameters)

    def size(self, width: int, height: int, phone: bool = False) -> None:
        scale = 2 if phone else 1
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def media(self, dark: bool = False, kind: str = "") -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        end = time.monotonic() + LIMIT
        while not self.run(condition):
            assert time.monotonic() < end, "waited for %s; %s" % (condition, self.complaints)
            time.sleep(0.02)

    def settle(self) -> None:
        """Until what was asked for is drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.wait("!mprofile.flame.pending")

    # What a person does.

    def mouse(self, x: float, y: float, click: bool = True) -> None:
        place = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            self.call("Input.dispatchMouseEvent", type="mousePressed", **place)
            self.call("Input.dispatchMouseEvent", type="mouseReleased", **place)
        self.settle()

    def click(self, selector: str) -> None:
        place = self.run(
            "(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'nearest'});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
            % json.dumps(selector)
        )
        self.mouse(*place)

    def key(self, name: str) -> None:
        key, code, text = KEYS.get(name, (name, ord(name.upper()[0]), name))
        common = {"key": key, "windowsVirtualKeyCode": code}
        kind = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)
        self.settle()

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    # What is seen.

    def text(self, selector: str) -> str:
        found = self.run("document.querySelector(%s).innerText" % json.dumps(selector))
        return str(found).replace("\u00a0", " ")

    def rows(self) -> List[List[str]]:
        """The cells of the table that are to be seen, and the place's first line."""
        cells: List[List[str]] = self.run(
            "[...document.querySelectorAll('#rows tr')].map(r => [...r.cells].map("
            "c => (c.querySelector('button') || c).textContent))"
        )
        return cells

    def screenshot(self, path: Any, whole: bool = False) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    @property
    def _own(self) -> List[Dict[str, Any]]:
        self.run("0")
        return [event for event in self.browser.events if event.get("sessionId") == self.session]

    @property
    def complaints(self) -> List[Any]:
        """Errors and warnings of the console, exceptions, violations of the page's policy."""
        wanted = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self._own if event.get("method") in wanted]

    @property
    def requests(self) -> List[str]:
        """Addresses that were asked for, the page's own and data in it left out."""
        urls = [e["params"]["request"]["url"] for e in self._own if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "about:"))][1:]

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)


#: Opens the page of a program, of a file, or a page's text: what the fixture `open_page` gives.
Opener = Callable[..., Page]
