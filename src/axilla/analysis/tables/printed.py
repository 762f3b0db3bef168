"""What the tables share: how a p-value, an area and a share are printed, and the printed table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from axilla.core.methods import method_title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

DASH = "–"
"""In place of a figure that is not defined."""
MINUS = "−"
"""U+2212: a hyphen is shorter than the plus beside it, and a line may break behind it."""


@dataclass(frozen=True, slots=True, eq=False)
class PrintedTable:
    """Text, ready to print."""

    frame: pd.DataFrame
    """Cells of text, under the headings that are printed."""
    notes: tuple[str, ...]
    """Footnotes in the order of their marks, then the reasons for figures that are missing."""


def told_reasons(missing: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Say why figures are missing, each reason once, after all the places where it holds.

    Examples
    --------
    >>> told_reasons([("A, PPV", "nobody is positive"), ("B, PPV", "nobody is positive")])
    ('A, PPV; B, PPV: nobody is positive.',)
    """
    places: dict[str, list[str]] = {}
    for place, reason in missing:
        places.setdefault(reason, []).append(place)
    return tuple(f"{'; '.join(where)}: {reason}." for reason, where in places.items())


def format_number(value: float, decimals: int, *, signed: bool = False) -> str:
    """Print a number with a true minus; undefined as a dash, and what rounds to 0 without a sign.

    Halves are rounded as Python does it, on the binary value: 84 of 128 is 65.62%, as the paper
    prints it (supplementary Table 3), and not 65.63%.
    """
    if math.isnan(value):
        return DASH
    size = f"{abs(value):.{decimals}f}"
    if float(size) == 0:
        return size
    return f"{MINUS if value < 0 else '+' if signed else ''}{size}"


def format_p(p: float, *, decimals: int = 3) -> str:
    """Print a p-value; below the last decimal as `<0.001`, undefined as a dash."""
    if math.isnan(p):
        return DASH
    least = 10.0**-decimals
    return f"<{least:.{decimals}f}" if p < least else f"{p:.{decimals}f}"


def format_auc(entry: Mapping[str, Any], *, mark: str = "") -> str:
    """Print an area: `0.816 [0.758, 0.865]`, its marks as `0.816^a,b [...]`."""
    return _format(entry, scale=1, decimals=3, mark=f"^{mark}" if mark else "")


def format_percent(entry: Mapping[str, Any]) -> str:
    """Print a fraction as a percentage: `80.32 [76.99, 83.35]`."""
    return _format(entry, scale=100, decimals=2, mark="")


def format_figure(entry: Mapping[str, Any], *, decimals: int) -> str:
    """Print a figure of any sign with its interval: `−0.12 [−0.30, 0.06]`."""
    return _format(entry, scale=1, decimals=decimals, mark="")


def _format(entry: Mapping[str, Any], *, scale: float, decimals: int, mark: str) -> str:
    if entry["value"] is None:
        return f"{DASH}{mark}"
    value = f"{format_number(scale * entry['value'], decimals)}{mark}"
    if entry["low"] is None:
        return value
    low, high = (format_number(scale * entry[bound], decimals) for bound in ("low", "high"))
    return f"{value} [{low}, {high}]"


def told_cohorts(
    metrics: Mapping[str, Any],
    *,
    cohorts: Sequence[str] | None,
    cohort_titles: Mapping[str, str],
) -> Iterator[tuple[dict[str, str], str, Mapping[str, Any]]]:
    """Yield the first cells of a row, how notes name it, and the entry, by method and cohort.

    Parameters
    ----------
    metrics
        `metrics.json`.
    cohorts
        Which, in which order; None takes all as they come. One that a method lacks is left out.
    cohort_titles
        Printed names; the short name where there is none.
    """
    for method, by_cohort in metrics["methods"].items():
        for cohort in cohorts or by_cohort:
            if cohort in by_cohort:
                title, where = method_title(method), cohort_titles.get(cohort, cohort)
                cells = {"Method": title, "Cohort": where}
                yield cells, f"{title}, {where.lower()}", by_cohort[cohort]
