"""Tables of text as CSV, LaTeX and HTML; everything that comes from the data is escaped."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}",
    # Not set up in LaTeX's own fonts: left as they are they would stop it.
    "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "µ": r"$\mu$", "μ": r"$\mu$",
    "²": "$^2$", "³": "$^3$", "·": r"$\cdot$", "≈": r"$\approx$",
}  # fmt: skip
_PAGE_CHARACTERS = 90
"""A row of more, at 10 pt, is wider than a page's text; it is then scaled down to it."""
_MOST_UPRIGHT = 8
"""Columns that a page held upright has room for in a word processor."""
_FIGURES = re.compile(r"[<>+−–]?\d*(\.\d+)?")
_RULE = {"top": "border-top: 1.5pt solid black", "thin": "border-bottom: 0.75pt solid black",
         "bottom": "border-bottom: 1.5pt solid black"}  # fmt: skip
_MARK = re.compile(r"^(–|\d[\d.]*)\^([a-z,]+)(?= \[|$)")
"""A figure's footnote marks as `format_auc` writes them: `0.816^a,b [...]`."""


def to_csv(frame: pd.DataFrame) -> str:
    """Comma-separated text, in UTF-8 when written."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_latex(frame: pd.DataFrame, *, caption: str, notes: Sequence[str] = ()) -> str:
    """Write a `table` for LaTeX with the packages booktabs and graphicx.

    Columns of single figures stand right, all others left; a table wider than a page's text is
    scaled down to it.
    """
    marks = _marks(frame)
    columns = "".join("r" if right else "l" for right in _stand_right(frame))
    tabular = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row([escape_latex(str(name)) for name in frame.columns]),
        r"\midrule",
        *(_latex_row([_latex_cell(str(cell)) for cell in row]) for row in _rows(frame)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if _characters(frame) > _PAGE_CHARACTERS:
        tabular = [r"\resizebox{\textwidth}{!}{%", *tabular, "}"]
    return "\n".join(
        [
            r"% In the preamble: \usepackage{booktabs,graphicx}",
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            *tabular,
            # A paragraph each: a line break (\\) right below a tabular would be an error.
            *(rf"\par\raggedright\footnotesize {_latex_note(note, marks)}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def to_html(frame: pd.DataFrame, *, caption: str, notes: Sequence[str] = ()) -> str:
    """Write a page with the `<table>` and its footnotes, which a word processor takes as a table.

    Styles stand in the elements themselves, as nothing else survives copy and paste; rules are a
    journal's: above and below the headings, and below the last row.
    """
    right = _stand_right(frame)
    head = "".join(
        _html_cell("th", escape(str(name)), own, rules=("top", "thin"), scope=' scope="col"')
        for name, own in zip(frame.columns, right, strict=True)
    )
    rows = _rows(frame)
    body = "\n".join(
        "<tr>"
        + "".join(
            _html_cell(
                "td", _cell(str(cell), escape, "<sup>{}</sup>"), own,
                rules=("bottom",) if index == len(rows) - 1 else (),
            )
            for cell, own in zip(row, right, strict=True)
        )
        + "</tr>"
        for index, row in enumerate(rows)
    )  # fmt: skip
    marks = _marks(frame)
    said = "".join(
        f'<p style="margin: 2pt 0">{_noted(note, marks, escape, "<sup>{}</sup> ")}</p>'
        for note in notes
    )
    span = f'<td colspan="{len(frame.columns)}" style="padding: 2pt 4pt">'
    foot = f"<tfoot><tr>{span}{said}</td></tr></tfoot>\n" if said else ""
    shown = escape(caption)
    # White stands behind it: black on the dark page of a browser would not be read.
    return (
        '<html lang="en">\n<head><meta charset="utf-8"/>'
        f"<title>{shown}</title>{_page_style(frame)}</head>\n"
        '<body style="background: white; color: black">\n'
        '<table border="0" cellspacing="0" cellpadding="3" '
        "style=\"border-collapse: collapse; font: 10pt 'Times New Roman', serif\">\n"
        f'<caption style="text-align: left; padding: 4pt">{shown}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n{foot}</table>\n"
        "</body>\n</html>\n"
    )


def escape_latex(text: str) -> str:
    """Escape what LaTeX would take for a command, and what its own fonts lack."""
    return "".join(_LATEX.get(character, character) for character in text)


def _rows(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(frame.itertuples(index=False, name=None))


def _stand_right(frame: pd.DataFrame) -> list[bool]:
    """Whether a column has single figures only: a count, a z, a p."""
    found = []
    for index in range(frame.shape[1]):
        cells = [str(cell) for cell in frame.iloc[:, index] if str(cell)]
        found.append(bool(cells) and all(_FIGURES.fullmatch(cell) for cell in cells))
    return found


def _characters(frame: pd.DataFrame) -> int:
    """Width of the widest row in characters, two between columns."""
    widths = [
        max(len(str(name)), *(len(str(cell)) for cell in frame.iloc[:, index]), 0)
        for index, name in enumerate(frame.columns)
    ]
    return sum(widths) + 2 * len(widths)


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(" ".join(cell.split()) for cell in cells)
    # Behind the end of the row before, [ and * would be its options.
    return f"{'{}' if row.startswith(('[', '*')) else ''}{row} \\\\"


def _latex_cell(text: str) -> str:
    return _cell(text, escape_latex, r"\textsuperscript{{{}}}")


def _latex_note(note: str, marks: frozenset[str]) -> str:
    return " ".join(_noted(note, marks, escape_latex, r"\textsuperscript{{{}}} ").split())


def _marks(frame: pd.DataFrame) -> frozenset[str]:
    """The marks that cells carry."""
    found = (_MARK.match(str(cell)) for row in _rows(frame) for cell in row)
    return frozenset(mark for one in found if one for mark in one.group(2).split(","))


def _noted(
    note: str, marks: frozenset[str], escaped: Callable[[str], str], superscript: str
) -> str:
    """A footnote behind its mark, which stands as it does in the cell."""
    mark, colon, text = note.partition(": ")
    if not colon or mark not in marks:
        return escaped(note)
    return superscript.format(escaped(mark)) + escaped(text)


def _html_cell(
    tag: str, content: str, right: bool, *, rules: Sequence[str], scope: str = ""
) -> str:
    style = [f"text-align: {'right' if right else 'left'}", "padding: 2pt 4pt"]
    style += [_RULE[rule] for rule in rules]
    # An interval that breaks in two lines is no figure of a journal.
    # Word processors do not know nowrap: an interval is kept together by spaces that do not break.
    kept = re.sub(r"\[[^\]]*\]", lambda interval: interval[0].replace(" ", "\u00a0"), content)
    return f'<{tag}{scope} style="{"; ".join(style)}; white-space: nowrap">{kept}</{tag}>'


def _page_style(frame: pd.DataFrame) -> str:
    """A wide table asks for paper on its side, where it is printed or opened as a document."""
    wide = len(frame.columns) > _MOST_UPRIGHT
    return "<style>@page { size: 297mm 210mm; margin: 15mm }</style>" if wide else ""


def _cell(text: str, escaped: Callable[[str], str], superscript: str) -> str:
    found = _MARK.match(text)
    if found is None:
        return escaped(text)
    figure, marks = found.groups()
    return escaped(figure) + superscript.format(escaped(marks)) + escaped(text[found.end() :])
