# SPDX-License-Identifier: MIT
"""Pages of real programs with a known answer: the line that is to blame is on top, in words and in
the graph. With PAGE_PICTURES=FOLDER each page is also photographed, light, dark and on a phone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from browser import ROOT, Opener

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from harness import Running  # noqa: E402

STORIES = ROOT / "tests" / "stories"
PICTURES = os.environ.get("PAGE_PICTURES")


def line_of(story: Path, mark: str) -> str:
    lines = story.read_text("utf-8").splitlines()
    return "%s:%d" % (story, next(n for n, text in enumerate(lines, 1) if text.endswith("# @" + mark)))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: Any) -> Any:
    made = {}

    def of(name: str) -> Path:
        if name not in made:
            cwd = tmp_path_factory.mktemp(name)
            story = str(STORIES / (name + ".py"))
            running = Running(argv=[sys.executable, story], cwd=cwd, env={"MPROFILERATE": "16k"})
            try:
                made[name] = running.ready().dump()
                running.finish()
            finally:
                running.kill()
        return made[name]

    return of


@pytest.mark.parametrize(
    "name, mark, words, value",
    [
        ("leak_python", "history", "mostly live Python objects", "inuse_bytes"),
        ("leak_native", "leak", "mostly live native memory", "inuse_bytes"),
        ("fragments", "work", "mostly memory that was freed", "peak_bytes"),
    ],
)
def test_the_line_is_on_top(
    name: str, mark: str, words: str, value: str, snapshot: Any, open_page: Opener, tmp_path: Path
) -> None:
    source = snapshot(name)
    page = open_page(source, "--value", value)
    place = line_of(STORIES / (name + ".py"), mark)
    assert page.rows()[0][-1] == place
    assert words in page.text("#verdict")
    # The source of the line stands below it, and its frame is the widest where stacks begin.
    assert "# @" + mark in page.text("#rows tr:first-child .place")
    page.click("#inverted")
    assert page.run("mprofile.frames.place(mprofile.state.tree.root.kids[0].frame)") == place
    if PICTURES:
        page.run("mprofile.change({inverted: false})")
        page.settle()
        page.screenshot(Path(PICTURES) / ("%s.png" % name))
        for look in ({"dark": True}, {"phone": True, "width": 390, "height": 844}):
            kind = "phone" if "phone" in look else "dark"
            open_page(source, "--value", value, **look).screenshot(Path(PICTURES) / ("%s-%s.png" % (name, kind)))
