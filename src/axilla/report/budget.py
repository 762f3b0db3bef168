"""Keeps a report small enough to be sent by mail: what is too large stays beside it, and is told.

Sizes are those of the finished page: pictures and downloads grow by a third as `data:` addresses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from axilla.report.html import render_report

if TYPE_CHECKING:
    from axilla.report.contents import CaseView, Figure, ReportContents

LIMIT_BYTES = 10_000_000
"""Most bytes of a report; mail servers refuse little more."""
LARGEST_CSV_BYTES = 500_000
"""A figure's numbers that are longer than this stay in their own file, unless there is room."""


def render_within(contents: ReportContents, *, limit: int = LIMIT_BYTES) -> str:
    """Lay out a report in no more than `limit` bytes, as far as leaving things out can do it.

    In this order: long downloads of figures go, then the patches of cases from the last on, then
    whole cases. What went is told in 'Please note', with where it is; so is a report that is still
    too large.

    Returns
    -------
    str
        As `render_report`.
    """
    page = render_report(contents)
    if _size(page) <= limit:
        return page
    smaller, notes = _without_long_downloads(contents)
    over = _size(render_report(_noted(smaller, notes))) - limit
    if over > 0:
        smaller, told = _without_pictures(smaller, over)
        notes += told
    page = render_report(_noted(smaller, notes))
    if _size(page) > limit:
        notes.append(
            f"This file has {_size(page) / 1e6:.1f} MB, more than the {limit / 1e6:g} MB that it "
            "is meant to have: its tables and figures alone are larger."
        )
        page = render_report(_noted(smaller, notes))
    return page


def _size(page: str) -> int:
    return len(page.encode())


def _noted(contents: ReportContents, notes: list[str]) -> ReportContents:
    return replace(contents, warnings=(*contents.warnings, *notes))


def _without_long_downloads(contents: ReportContents) -> tuple[ReportContents, list[str]]:
    left: list[str] = []

    def short(figure: Figure) -> Figure:
        if len(figure.csv) <= LARGEST_CSV_BYTES:
            return figure
        left.append(figure.title)
        return replace(figure, csv="")

    smaller = replace(
        contents,
        figures=tuple(map(short, contents.figures)),
        cases=tuple(replace(case, maps=tuple(map(short, case.maps))) for case in contents.cases),
        parts=tuple(
            replace(part, figures=tuple(map(short, part.figures))) for part in contents.parts
        ),
    )
    if not left:
        return smaller, []
    figures = f"{len(left)} figure{'s' if len(left) > 1 else ''}"
    named = ", ".join(dict.fromkeys(left))
    note = (
        f"The numbers of {figures} are too long for this file and lie beside it in the study's "
        f"folder: {named}."
    )
    return smaller, [note]


def _without_pictures(contents: ReportContents, over: int) -> tuple[ReportContents, list[str]]:
    """Take out galleries, then cases, from the last on, until `over` bytes are saved."""
    cases = list(contents.cases)
    # The note itself takes some room.
    saved, galleries, whole = -1000, 0, 0
    for index in reversed(range(len(cases))):
        own = cases[index].galleries
        if saved >= over:
            break
        if own:
            saved += sum(map(_bytes_of, own))
            cases[index] = replace(cases[index], galleries=())
            galleries += 1
    while cases and saved < over:
        last: CaseView = cases.pop()
        saved += sum(map(_bytes_of, last.maps))
        saved += 0 if last.features is None else _bytes_of(last.features)
        whole += 1
    notes = []
    if galleries:
        notes.append(
            f"To keep this file small, the patches of {galleries} cases are left out; they lie in "
            "the study's folders heatmaps and nuclei."
        )
    if whole:
        notes.append(
            f"To keep this file small, {whole} cases are left out; their heat maps lie in the "
            "study's folder heatmaps."
        )
    return replace(contents, cases=tuple(cases)), notes


def _bytes_of(figure: Figure) -> int:
    """What a figure takes in the page, in base64."""
    return (len(figure.image) + len(figure.csv.encode())) * 4 // 3
