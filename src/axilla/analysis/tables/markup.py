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
}  # fmt: skip
_MARK = re.compile(r"^(–|\d[\d.]*)\^([a-z,]+)(?= \[|$)")
"""A figure's footnote marks as `format_auc` writes them: `0.816^a,b [...]`."""


def to_csv(frame: pd.DataFrame) -> str:
    """Comma-separated text, in UTF-8 when written."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_latex(frame: pd.DataFrame, *, caption: str, notes: Sequence[str] = ()) -> str:
    """Write a `table` for LaTeX with the package booktabs."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\begin{{tabular}}{{{'l' * len(frame.columns)}}}",
        r"\toprule",
        " & ".join(escape_latex(str(name)) for name in frame.columns) + r" \\",
        r"\midrule",
    ]
    for row in frame.itertuples(index=False):
        cells = [_cell(str(cell), escape_latex, r"\textsuperscript{{{}}}") for cell in row]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    # A paragraph each: a line break (\\) right below a tabular would be an error.
    lines += [rf"\par {escape_latex(note)}" for note in notes]
    return "\n".join([*lines, r"\end{table}", ""])


def to_html(frame: pd.DataFrame, *, caption: str, notes: Sequence[str] = ()) -> str:
    """Write a `<table>` with its footnotes, without any style."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    body = "\n".join(
        "<tr>"
        + "".join(f"<td>{_cell(str(cell), escape, '<sup>{}</sup>')}</td>" for cell in row)
        + "</tr>"
        for row in frame.itertuples(index=False)
    )
    foot = "".join(f"<p>{escape(note)}</p>" for note in notes)
    foot = (
        f'<tfoot><tr><td colspan="{len(frame.columns)}">{foot}</td></tr></tfoot>\n' if foot else ""
    )
    return (
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n{foot}</table>\n"
    )


def escape_latex(text: str) -> str:
    """Escape what LaTeX would take for a command."""
    return "".join(_LATEX.get(character, character) for character in text)


def _cell(text: str, escaped: Callable[[str], str], superscript: str) -> str:
    found = _MARK.match(text)
    if found is None:
        return escaped(text)
    figure, marks = found.groups()
    return escaped(figure) + superscript.format(escaped(marks)) + escaped(text[found.end() :])
