"""Pages in a real browser: what they must draw, and that their numbers are those of a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

OVERLAPS = """() => {
  const groups = [[...document.querySelectorAll("header, section, footer, .synthetic")]];
  for (const box of document.querySelectorAll("section, .tiles, .pictures, .two, .claims")) groups.push([...box.children]);
  const found = [];
  for (const group of groups) {
    const boxes = group.map((element) => [element, element.getBoundingClientRect()]).filter(([, box]) => box.width * box.height > 0);
    for (const [i, [a, one]] of boxes.entries()) {
      for (const [b, two] of boxes.slice(i + 1)) {
        const wide = Math.min(one.right, two.right) - Math.max(one.left, two.left);
        const high = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
        if (wide > 1 && high > 1) found.push(`${a.tagName}.${a.className}#${a.id} on ${b.tagName}.${b.className}#${b.id}`);
      }
    }
  }
  return found;
}"""

EMPTY = """() => [
  ...[...document.querySelectorAll(".chart")].filter((chart) => {
    const drawn = [...chart.querySelectorAll("svg.main-svg path, svg.main-svg .point")];
    return !drawn.some((mark) => { const box = mark.getBoundingClientRect(); return box.width + box.height > 2; });
  }).map((chart) => chart.id),
  ...[...document.querySelectorAll("img")].filter((image) => !image.complete || image.naturalWidth < 50).map((image) => image.alt),
]"""

TOO_WIDE = """() => [...document.querySelectorAll("main *, header *, footer *")].filter((element) => {
  if (element.closest(".scroll, .chart, pre")) return false;
  const box = element.getBoundingClientRect();
  return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
}).map((element) => element.outerHTML.slice(0, 80))"""


def open_offline(browser: Any, path: Path, width: int) -> Any:
    """The page in a file, drawn with the network off; asserts that it asked for nothing and complained of nothing."""
    page = browser.new_context(offline=True, viewport={"width": width, "height": 900}).new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=60_000)
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    return page


def number(shown: str) -> float:
    """What a number on the page says."""
    return float(shown.replace("−", "-").replace(",", "").removesuffix("%"))


def check_page(page: Any) -> None:
    """Every chart is drawn, nothing overlaps, and nothing is wider than the window."""
    assert page.evaluate(EMPTY) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def assert_sense(page: Any) -> None:
    """Nothing on the page is a number that is none."""
    assert not re.findall(r"\b(?:NaN|undefined|None|nan|inf)\b", page.inner_text("main"))


def assert_numbers(shown: list[list[str]], saved: Any) -> None:
    """Each (path in ``saved``, text on the page) is the same number, as far as it is written out."""
    for path, text in shown:
        value: Any = saved
        for key in path.split("."):
            value = value[key]
        if value is None:
            assert text == "–", path
        elif text.startswith("<"):
            assert value < number(text[1:]), path
        else:
            digits = len(text.removesuffix("%").partition(".")[2])
            scale = 100 if text.endswith("%") else 1
            assert number(text) == pytest.approx(value * scale, abs=0.5000001 * 10**-digits, rel=1e-9), path
