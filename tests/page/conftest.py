# SPDX-License-Identifier: MIT
"""One browser for all tests of the page; each test gets pages of its own, and looks at what they
complained of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Iterator, List

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "page"), str(ROOT / "tests" / "tools"), str(ROOT / "tools")]

from browser import Browser, Opener, Page  # noqa: E402
from helpers import read, save  # noqa: E402


@pytest.fixture(scope="session")
def browser(tmp_path_factory: Any) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Opens a page of a file or of a program; at the end no page may have complained, or asked."""
    pages: List[Page] = []

    def opener(what: Any, *options: str, **look: Any) -> Page:
        path = Path(tmp_path / ("%d.html" % len(pages)))
        if isinstance(what, str) and what.startswith("<!DOCTYPE"):
            path.write_text(what, encoding="utf-8")
        else:
            source = save(tmp_path / "page.bin", what.bytes()) if hasattr(what, "bytes") else str(what)
            done = read("--html", str(path), *options, source)
            assert done == (0, "", ""), done
        pages.append(browser.open(path, **look))
        return pages[-1]

    yield opener
    for page in pages:
        assert page.complaints == []
        assert page.requests == []
        page.close()
