"""The frame of every page: one HTML file that needs no network, no server and no other file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from freqlstm.report.canvas import Figure
from freqlstm.report.figures import text


def page(
    title: str, header: str, sections: Iterable[str], footer: str, charts: Mapping[str, Figure], banner: str = ""
) -> str:
    """The page with its style, its script and the chart library inside; ``charts`` are those that page.js may draw."""
    return Template(_resource("page.html")).substitute(
        title=text(title),
        css=_resource("page.css"),
        banner=banner,
        header=header,
        sections="\n".join(sections),
        footer=footer,
        charts=json.dumps(charts, separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
        plotly=_compressed_plotly(),
        script=_resource("page.js"),
    )


def synthetic_banner(what: str) -> str:
    """What stands above everything that was made of the demo market; ``what`` says who used it."""
    return (
        f'<div class="synthetic" role="alert"><b>SYNTHETIC CANDLES.</b> {text(what)} the demo market, which a random '
        "number generator made. Nothing here says anything about a real one.</div>"
    )


def links(contents: Mapping[str, str]) -> str:
    """The names of the sections, each with a way there."""
    return "<nav>" + "".join(f'<a href="#{anchor}">{text(name)}</a>' for anchor, name in contents.items()) + "</nav>"


@cache
def _resource(name: str) -> str:
    return files("freqlstm.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _compressed_plotly() -> str:
    """plotly.js at less than a third of its size; without the time stamp that gzip would put in."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=6, mtime=0)).decode()
