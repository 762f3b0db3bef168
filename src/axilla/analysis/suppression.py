"""Which counts of a table are withheld, so that no small one can be worked out from the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Withheld = Literal["small", "complementary"]
"""small: below the minimum; complementary: with it the small one could be calculated."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """What of one characteristic is withheld."""

    levels: tuple[Withheld | None, ...]
    """By level, in their order; None where everything is shown."""
    missing: bool
    """The number of patients without a value is withheld."""
    bound_told: bool
    """A small count may be printed as `<10`; else even that would give it away."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A count that could be printed, and what a reader knows of it once it is withheld."""

    n: int
    positives: int
    least: int
    most: int


def suppress(
    counts: Sequence[tuple[int, int]], *, missing: tuple[int, int] = (0, 0), minimum: int
) -> Suppression:
    """Decide which levels of one characteristic are withheld.

    A level of 1 to `minimum` - 1 patients is withheld. The reader knows the cohort's numbers of
    patients and of positives, so that what is withheld sums to a known number. Further counts are
    withheld, first that of the missing values and then the smallest level, until every withheld
    count still has at least two possible values and the withheld patients are not all of one class.

    Parameters
    ----------
    counts
        Patients and positives of each level.
    missing
        Patients and positives without a value.
    minimum
        Fewest patients that are shown; 1 withholds nothing.

    Notes
    -----
    Primary and complementary (secondary) cell suppression, as in Hundepool et al., Statistical
    Disclosure Control (2012), ISBN 978-1-119-97815-2. Only counts of one characteristic are
    protected against one another: two characteristics that say nearly the same, or another table
    of the same patients, are not looked at.
    """
    everybody = sum(n for n, _ in [*counts, missing])
    small = [index for index, (n, _) in enumerate(counts) if 0 < n < minimum]
    if not small:
        return Suppression((None,) * len(counts), missing=False, bound_told=True)
    hidden = [_Cell(*counts[index], 1, minimum - 1) for index in small]
    further = sorted(
        (index for index, (n, _) in enumerate(counts) if n >= minimum),
        key=lambda index: counts[index][0],
    )
    marks: dict[int, Withheld] = dict.fromkeys(small, "small")
    missing_hidden = False
    if missing[0] and not _is_safe(hidden):
        hidden.append(_Cell(*missing, 1, everybody))
        missing_hidden = True
    for index in further:
        if _is_safe(hidden):
            break
        hidden.append(_Cell(*counts[index], minimum, everybody))
        marks[index] = "complementary"
    return Suppression(
        levels=tuple(marks.get(index) for index in range(len(counts))),
        missing=missing_hidden,
        bound_told=_is_safe(hidden),
    )


def _is_safe(hidden: Sequence[_Cell]) -> bool:
    total = sum(cell.n for cell in hidden)
    positives = sum(cell.positives for cell in hidden)
    # All of one class: the reader would know the nodes of every patient of the small level.
    if positives in {0, total}:
        return False
    least, most = sum(cell.least for cell in hidden), sum(cell.most for cell in hidden)
    return all(
        max(cell.least, total - (most - cell.most)) < min(cell.most, total - (least - cell.least))
        for cell in hidden
    )
