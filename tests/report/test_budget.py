"""A report stays small, and says what it left out."""

from __future__ import annotations

from dataclasses import replace

from axilla.report.budget import LIMIT_BYTES, render_within
from axilla.report.contents import CaseView, Figure, ReportContents
from axilla.report.html import render_report


def heavy(cases: int, *, heatmap: int = 1000, gallery: int = 1000, csv: int = 0) -> ReportContents:
    """A report whose pictures have so many bytes."""

    def picture(size: int, title: str, numbers: str = "") -> Figure:
        return Figure(title, "", b"x" * size, "image/png", title, "n.csv", numbers)

    views = tuple(
        CaseView(
            f"P-{n}",
            f"S-{n}",
            "N0",
            "0.5",
            (picture(heatmap, "Heat"),),
            (picture(gallery, "Patches"),),
        )
        for n in range(cases)
    )
    figures = (picture(10, "ROC, training cohort", "a" * csv),) if csv else ()
    return ReportContents("n", "e", False, ("It works.",), (), (), (), figures, views, None, {}, {})


def test_a_small_report_is_left_as_it_is() -> None:
    contents = heavy(3)
    assert render_within(contents) == render_report(contents)


def test_patches_go_first_from_the_last_case_on() -> None:
    page = render_within(heavy(4, gallery=30_000), limit=150_000)
    assert len(page.encode()) <= 150_000
    assert page.count('alt="Heat"') == 4
    assert page.count('alt="Patches"') == 2
    assert page.index('alt="Patches"') < page.index("P-1")
    assert "the patches of 2 cases are left out" in page


def test_whole_cases_go_next() -> None:
    page = render_within(heavy(6, heatmap=40_000, gallery=40_000), limit=200_000)
    assert len(page.encode()) <= 200_000
    shown = page.count('alt="Heat"')
    assert 0 < shown < 6
    assert f"{6 - shown} cases are left out" in page
    assert "heatmaps" in page


def test_long_numbers_stay_beside_the_report() -> None:
    page = render_within(heavy(1, csv=9_000_000))
    assert len(page.encode()) <= LIMIT_BYTES
    assert "The numbers of 1 figure" in page
    assert "ROC, training cohort" in page
    assert page.count('alt="Heat"') == 1


def test_what_cannot_be_made_smaller_says_so() -> None:
    contents = replace(heavy(0), summary=("w" * 90_000,))
    page = render_within(contents, limit=80_000)
    assert "more than the 0.08 MB" in page
