# SPDX-License-Identifier: MIT
"""The page as a person uses it: pointer, keyboard, sizes, colours, paper; and how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest

from browser import Opener, Page
from helpers import mixed
from mprofile._units import bytes_and_error
from programs import MAIN, many, service
from snapshot_writer import Program

SELECTED = "(mprofile.flame.selected ? mprofile.frames.place(mprofile.flame.selected.frame) : '')"
ZOOMED = "mprofile.frames.place(mprofile.state.zoomed.frame)"


def boxes(page: Page) -> List[List[Any]]:
    """The frames that are drawn: [depth, label, x, y of the middle] on the page."""
    found: List[List[Any]] = page.run(
        """(() => { const at = document.getElementById('graph').getBoundingClientRect();
        return mprofile.flame.rows.flatMap((row, depth) => (row || []).map(({ one, x, width }) =>
            [depth, one.up ? mprofile.frames.of(one.frame).name : 'all', at.x + x + width / 2,
             at.y + depth * 20 + 10 - mprofile.flame.top, width])) })()"""
    )
    return found


def middle(page: Page, name: str) -> List[float]:
    return next([x, y] for _, label, x, y, _ in boxes(page) if label == name)


def test_head_losses_account_and_explanation(open_page: Opener) -> None:
    page = open_page(service())
    assert page.text("#title") == "python /srv/app/main.py, pid 4711"
    assert "3 samples have no stack" in page.text("#loud")
    assert page.text("#verdict").startswith("Resident (RSS) 100 MiB")
    assert page.run("document.querySelectorAll('#bar span').length") >= 2
    assert "one every 4 KiB on average" in page.text("#explain")
    assert "one standard error" in page.text("#explain")
    page.click("#more-head summary")
    assert "sampling" in page.text("#head")


def test_exact_figures_say_so(open_page: Opener) -> None:
    page = open_page(service(0))
    assert "the figures are exact" in page.text("#explain")
    assert page.run("[...document.querySelectorAll('#rows td.error')].every(c => c.textContent === '')")


def test_a_click_zooms_and_the_table_follows(open_page: Opener) -> None:
    page = open_page(service())
    everything = page.text("#sum")
    page.mouse(*middle(page, "Model.load"))
    assert page.run(ZOOMED) == "/srv/app/models.py:12"
    assert "below /srv/app/models.py:12" in page.text("#sum")
    assert "Model.load" in page.text("#detail")
    value = page.run("mprofile.state.zoomed.value")
    assert page.run("mprofile.state.rows.total.bytes") == pytest.approx(value)
    # Wide as the graph now, its callers above it too.
    assert next(w for _, name, _, _, w in boxes(page) if name == "Model.load") == pytest.approx(
        page.run("mprofile.flame.width")
    )
    page.mouse(*middle(page, "all"))
    assert page.text("#sum") == everything


def test_hovering_tells(open_page: Opener) -> None:
    page = open_page(service())
    page.mouse(*middle(page, "Model.load"), click=False)
    tip = page.text("#tip")
    assert "Model.load" in tip and "/srv/app/models.py:12" in tip and "±" in tip and "%" in tip
    assert page.run(ZOOMED).startswith("<unknown>")


def test_search(open_page: Opener) -> None:
    page = open_page(service())
    page.key("/")
    page.type("models.PY")
    page.wait("document.getElementById('found').textContent")
    stacks = page.run("mprofile.state.found[0]")
    share = stacks / page.run("mprofile.state.everything.bytes")
    assert 0 < share < 1 and "%.1f%%" % (100 * share) in page.text("#found")
    lit = page.run(
        "mprofile.flame.rows.flat().filter(d => d.one.up && mprofile.flame.look.lit(d.one))"
        ".map(d => mprofile.frames.of(d.one.frame).file)"
    )
    assert lit and set(lit) == {"/srv/app/models.py"}
    assert [row[-1] for row in page.rows()] == ["/srv/app/models.py:12"]
    page.key("Escape")
    assert page.text("#found") == "" and len(page.rows()) > 1
    page.key("/")
    page.type("no such thing")
    page.wait("document.getElementById('found').textContent")
    assert "0 B ±0" in page.text("#found") and page.rows() == []


def test_slider(open_page: Opener) -> None:
    page = open_page(service())
    before = page.run("mprofile.state.everything.bytes")
    page.run("document.querySelector('[data-age=older]').focus()")
    for _ in range(8):
        page.key("ArrowRight")
    page.wait("mprofile.state.from === 8")
    page.settle()
    after = page.run("mprofile.state.everything.bytes")
    assert 0 < after < before
    assert "at least" in page.text("[data-age=words]") and "at least" in page.text("#explain")
    assert page.text("#sum").startswith(bytes_and_error(after, 0)[0])
    assert page.run("document.querySelector('[data-age=older]').getAttribute('aria-valuetext')").startswith("at least")
    # The handles do not pass each other.
    page.run("(() => { const y = document.querySelector('[data-age=younger]'); y.value = 2; y.dispatchEvent(new Event('input')) })()")
    page.wait("mprofile.state.to === 9")


def test_handles_can_be_dragged(open_page: Opener) -> None:
    page = open_page(service())
    x, y, width = page.run(
        "(() => { const b = document.querySelector('[data-age=older]').getBoundingClientRect();"
        " return [b.x, b.y + b.height / 2, b.width] })()"
    )
    mouse = {"button": "left", "clickCount": 1, "y": y}
    for at, end in ((x + 8, "older"), (x + width - 8, "younger")):
        to = x + width / 3 if end == "older" else x + 2 * width / 3
        page.call("Input.dispatchMouseEvent", type="mousePressed", x=at, **mouse)
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=to, buttons=1, **mouse)
        page.call("Input.dispatchMouseEvent", type="mouseReleased", x=to, **mouse)
    page.wait("mprofile.state.from > 3 && mprofile.state.to < mprofile.data.limits.length - 3")


def test_inverted(open_page: Opener) -> None:
    page = open_page(service())
    assert {name for depth, name, *_ in boxes(page) if depth == 1} == {"<module>"}
    page.click("#inverted")
    assert {name for depth, name, *_ in boxes(page) if depth == 1} == {"Model.load", "render", "remember", "keep_one"}
    page.mouse(*middle(page, "Model.load"))
    assert [row[-1] for row in page.rows()] == ["/srv/app/models.py:12"]


def test_machinery_is_hidden(open_page: Opener) -> None:
    page = open_page(service())
    names = {name for _, name, *_ in boxes(page)}
    assert {"_call_with_frames_removed", "cfunction_call"} <= names
    before = page.run("mprofile.state.tree.root.value")
    page.click("#hide")
    names = {name for _, name, *_ in boxes(page)}
    assert not {"_call_with_frames_removed", "cfunction_call"} & names
    assert {"<module>", "render", "Model.load", "remember", "keep_one"} <= names
    assert page.run("mprofile.state.tree.root.value") == before


def test_switch_of_values(open_page: Opener) -> None:
    page = open_page(service())
    shown = {}
    for value in ("alloc", "peak", "inuse"):
        page.click("input[name=value][value=%s]" % value)
        shown[value] = page.run("mprofile.state.everything.bytes")
        assert page.run("mprofile.flame.look.tree.root.value") == pytest.approx(shown[value])
    assert shown["alloc"] > shown["inuse"] > 0
    page.click("input[name=value][value=peak]")
    assert page.run("document.querySelector('input[name=unit][value=blocks]').disabled")
    assert "leans upwards" in page.text("#explain")
    assert page.run("document.querySelector('[data-age=older]').disabled")
    page.click("input[name=value][value=inuse]")
    page.click("input[name=unit][value=blocks]")
    assert "blocks" in page.text("#sum") and page.text("#titles").startswith("blocks")


def test_the_page_opens_as_asked(open_page: Opener) -> None:
    page = open_page(service(), "--value", "alloc_blocks", "--by", "function")
    assert page.run("[mprofile.state.value, mprofile.state.unit, mprofile.state.group]") == ["alloc", "blocks", "function"]
    assert page.rows()[0][-1] in ("Model.load", "render", "remember")


def test_colours(open_page: Opener) -> None:
    page = open_page(service())
    assert page.run("[...document.getElementById('colour').options].map(o => o.value)") == ["file", "type"]
    assert "models.py" in page.text("#colours")
    page.run("mprofile.change({colour: 'type'})")
    assert "Model" in page.text("#colours") and "dict" in page.text("#colours")
    page.run("mprofile.change({inverted: true})")
    page.settle()
    colour = """(name => mprofile.flame.look.colour(mprofile.state.tree.root.kids.find(
        one => mprofile.frames.of(one.frame).name === name)))"""
    models, cached = page.run("['Model.load', 'remember'].map(%s)" % colour)
    assert models != cached and "hsl" in models and "hsl" in cached
    plain = open_page(mixed(4096))
    assert plain.run("[...document.getElementById('colour').options].map(o => o.value)") == ["file"]


def test_a_row_lights_its_frames(open_page: Opener) -> None:
    page = open_page(service())
    name = page.rows()[1][-1]
    page.click("#rows tr:nth-child(2) button")
    assert name in page.text("#found") and "in stacks with it" in page.text("#found")
    assert page.run("document.querySelectorAll('tr.picked').length") == 1
    page.click("#rows tr:nth-child(2) button")
    assert page.text("#found") == ""


def test_keyboard(open_page: Opener) -> None:
    page = open_page(service())
    for _ in range(20):
        page.key("Tab")
        if page.run("document.activeElement.id") == "scroller":
            break
    page.key("ArrowDown")
    page.key("ArrowDown")
    assert page.run(SELECTED) == "/srv/app/main.py:7"
    page.key("ArrowDown")
    first = page.run(SELECTED)
    page.key("ArrowRight")
    assert page.run(SELECTED) != first
    page.key("ArrowLeft")
    assert page.run(SELECTED) == first and first in page.text("#detail")
    page.key("Enter")
    assert page.run(ZOOMED) == first
    page.key("Backspace")
    assert page.run(ZOOMED) == "/srv/app/main.py:7"
    for key, name, value in (("i", "inverted", True), ("h", "hide", True), ("b", "unit", "blocks"), ("v", "value", "alloc")):
        page.key(key)
        assert page.run("mprofile.state.%s" % name) == value
    page.key("0")
    assert page.run("mprofile.state.path.length") == 0
    page.key("?")
    assert page.run("document.getElementById('about').open") and "Backspace" in page.text("#keys")


def test_everything_has_a_name_for_a_screen_reader(open_page: Opener) -> None:
    page = open_page(service())
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "slider", "radio", "checkbox", "combobox", "searchbox", "application", "image")
    named = [(n["role"]["value"], n.get("name", {}).get("value")) for n in nodes if n.get("role", {}).get("value") in roles]
    assert {role for role, _ in named} >= {"button", "slider", "radio", "checkbox", "searchbox", "application"}
    assert [one for one in named if not one[1]] == []


def luminance(rgb: List[float]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: List[float], other: List[float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_dark_and_light_can_be_read(dark: bool, open_page: Opener) -> None:
    page = open_page(service(), dark=dark)
    rgb = "(text => { const c = document.createElement('canvas').getContext('2d'); c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3) })"
    back = page.run("%s(getComputedStyle(document.body).backgroundColor)" % rgb)
    assert (luminance(back) < 0.1) == dark
    for selector in ("#title", "#explain", ".below", ".pick", "td.error"):
        colour = page.run("%s(getComputedStyle(document.querySelector('%s')).color)" % (rgb, selector))
        assert contrast(colour, back) >= 4.5, selector
    ink = page.run("%s(mprofile.flame.ink)" % rgb)
    for hue in range(0, 360, 15):
        fill = page.run("%s('hsl(%d 70%% %d%%)')" % (rgb, hue, 24 if dark else 76))
        assert contrast(ink, fill) >= 4.5, hue


@pytest.mark.parametrize("width, height", [(360, 640), (390, 844), (768, 1024)])
def test_phone_and_tablet(width: int, height: int, open_page: Opener) -> None:
    page = open_page(service(), width=width, height=height, phone=True)
    assert page.run("document.documentElement.scrollWidth") <= width
    graph = page.run("document.getElementById('graph').getBoundingClientRect().toJSON()")
    assert graph["width"] > 0.85 * width and graph["height"] > 80
    page.click("#inverted")
    assert page.run("mprofile.state.inverted")
    page.run("document.getElementById('scroller').scrollIntoView()")
    x, y = middle(page, "Model.load")
    page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    page.wait("mprofile.state.path.length === 1")


def test_the_page_fits_a_desktop(open_page: Opener) -> None:
    page = open_page(service())
    assert page.run("document.documentElement.scrollHeight") <= 800


def test_paper(open_page: Opener) -> None:
    page = open_page(service(), dark=True)
    assert page.pdf()[:5] == b"%PDF-"
    page.media(True, "print")
    page.settle()
    assert page.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_deep_stack_scrolls(open_page: Opener) -> None:
    program = Program(0)
    program.block(100, [("deep.py", n, "f%d" % n, 1) for n in range(127)] + [MAIN])
    page = open_page(program)
    for _ in range(130):
        page.key("ArrowDown")
    assert page.run(SELECTED) == "deep.py:0"
    assert page.run("document.getElementById('scroller').scrollTop") > 1500
    assert "f0" in {name for _, name, *_ in boxes(page)}


def test_a_hundred_thousand_stacks(open_page: Opener, tmp_path: Path) -> None:
    """Bounds are ten times and more what an idle machine needs: for what is quadratic, not slow."""
    page = open_page(many(100_000))
    assert page.run("mprofile.data.col.stack_node.length") == 100_000
    costs = page.run(
        """(() => { const f = mprofile.flame; const costs = [];
        for (let round = 0; round < 2; round += 1) {
            for (let i = 0; i < 60; i += 1) {
                f.view = [0.3 * i / 60, 1 - 0.6 * i / 60]; f.draw(); if (round) costs.push(f.cost);
            }
        }
        return costs.sort((a, b) => a - b) })()"""
    )
    assert costs[30] < 160
    for change in ("{from: 3}", "{inverted: true}", "{hide: true}", "{search: 'module12.py'}", "{group: 'function'}"):
        spent = page.run("(() => { const t = performance.now(); mprofile.change(%s); mprofile.flame.draw(); return performance.now() - t })()" % change)
        assert spent < 10_000, change
