"""What the card of a model says of its training cohort's columns, slides and patches."""

from __future__ import annotations

from collections.abc import Iterator

from axilla.core.store.model_record import SMALLEST_GROUP, CohortSummary
from axilla.study.card_words import plain


def cohort_lines(summary: CohortSummary) -> Iterator[str]:
    """Slides, patches, then clinical columns; what is not told of fewer than ten is not there."""
    yield from _ranges(summary)
    yield from _columns(summary)


def _ranges(summary: CohortSummary) -> Iterator[str]:
    for title, found in (
        ("Slides' µm per pixel", summary.slide_mpp), ("Kept patches a patient", summary.patches),
    ):  # fmt: skip
        if found is not None and found.median is not None:
            yield f"- {title}: median {found.median:.4g}{_from_to(found.low, found.high)}"


def _from_to(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f", from {low:.4g} to {high:.4g} (means of the ten lowest and the ten highest)"


def _columns(summary: CohortSummary) -> Iterator[str]:
    for name, number in summary.numbers.items():
        shown = (
            "not told" if number.mean is None or number.sd is None
            else f"mean {number.mean:.3g}, SD {number.sd:.3g}{_from_to(number.low, number.high)}"
        )  # fmt: skip
        yield f"- {plain(name)}: {shown}{_missing(number.missing)}"
    for name, category in summary.categories.items():
        shares = ", ".join(
            f"{plain(level)} {'not told' if share is None else f'{share:.1%}'}"
            for level, share in category.shares.items()
        )
        yield f"- {plain(name)}: {shares}{_missing(category.missing)}"


def _missing(count: int | None) -> str:
    if count == 0:
        return ""
    return f"; missing in {f'under {SMALLEST_GROUP}' if count is None else f'{count:,}'}"
