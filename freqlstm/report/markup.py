"""The few pieces of HTML that the sections are made of. Texts are escaped by :mod:`freqlstm.report.figures`."""

from __future__ import annotations

from collections.abc import Sequence

from freqlstm.report.figures import text


def section(anchor: str, title: str, note: str, *parts: str) -> str:
    """A box of the page with its own address; ``note`` says how to read it."""
    explained = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{anchor}"><h2>{text(title)}</h2>{explained}{"".join(parts)}</section>'


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int] = (), own: int | None = None
) -> str:
    """A table that scrolls sideways where it must. Cells are HTML; columns in ``words`` hold text, ``own`` stands out."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = ["words" if column in words else "own" if column == own else "" for column in range(len(row))]
        return "".join(
            f'<{tag} class="{kind}">{cell}</{tag}>' if kind else f"<{tag}>{cell}</{tag}>"
            for kind, cell in zip(kinds, row, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = cells("th", [text(name) if name else "" for name in heads])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(path: str, shown: str, kind: str = "") -> str:
    """A number that stats.json holds at ``path``, as it is shown."""
    kind_of = f' class="{kind}"' if kind else ""
    return f'<span data-stat="{text(path)}"{kind_of}>{shown}</span>'


def tile(label: str, number: str) -> str:
    """A large number above what it is."""
    return f'<div class="tile"><b>{number}</b><span>{label}</span></div>'


def folded(title: str, content: str, opened: bool = False) -> str:
    """Content that can be folded away."""
    return f"<details{' open' if opened else ''}><summary>{text(title)}</summary>{content}</details>"


def chart(name: str, height: int) -> str:
    """The place where page.js draws the chart ``name``."""
    return f'<div class="chart" id="chart-{name}" data-chart="{name}" style="height:{height}px"></div>'
