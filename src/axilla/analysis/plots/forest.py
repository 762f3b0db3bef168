"""The forest plot: the area by subgroup, with its numbers in columns beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.ticker import MultipleLocator

from axilla.analysis.plots.look import GREY, OKABE_ITO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

_FONT_POINTS = 9.0
_LETTER_POINTS = 5.2
"""Mean width of a letter at that size."""
_ROW_INCHES = 0.24
_PLOT_INCHES = 2.6
_RIGHT = {
    "AUC [95% CI]": (10.0, "left"),
    "p, difference": (185.0, "right"),
    "p, interaction": (265.0, "right"),
}
"""Columns right of the plot: distance from it in points, and how they are set."""
_GAP_POINTS = 10.0


class _Row(NamedTuple):
    """One line of the figure."""

    label: str
    printed: str = ""
    """The number of patients, as it is printed."""
    n: int | None = None
    area: Mapping[str, Any] | None = None
    tests: tuple[str, str] = ("", "")
    heading: bool = False


def forest_size(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height in inches at which all rows and columns of `draw_forest` are readable."""
    rows = _rows(entry)
    width = (_label_points(rows) + _count_points(rows) + _RIGHT["p, interaction"][0]) / 72
    return width + _PLOT_INCHES + 0.4, _ROW_INCHES * (len(rows) + 1) + 0.7


def draw_forest(ax: Axes, entry: Mapping[str, Any]) -> None:
    """Draw the area of each subgroup with its 95% interval, and all patients' as a line.

    Squares grow with the number of patients. Beside the plot stand the subgroup, its number of
    patients with that of positives, the area, and the p-values of the areas' difference and of the
    interaction, neither adjusted. A subgroup that is withheld has its line and no square.

    Parameters
    ----------
    ax
        Where to draw; `forest_size` says how large the figure should be, and it should be saved
        with what stands outside of the axes (`bbox_inches="tight"`).
    entry
        An entry of the list `subgroups` in `metrics.json` (`SubgroupAnalysis.as_json`); intervals
        are the binomial exact ones, as the tables print them.
    """
    rows = _rows(entry)
    overall = entry["overall"]
    if overall["auc"]["value"] is not None:
        ax.axvline(overall["auc"]["value"], color=GREY, linewidth=1, linestyle="--", zorder=1)
    lows = [0.5]
    for place, row in enumerate(rows):
        _write(ax, place, row, left=_count_points(rows) + _label_points(rows))
        if row.area is None or row.area["value"] is None:
            continue
        share = (row.n or 0) / overall["n"]
        _draw_area(ax, place, row.area, share=share, everybody=place == 0)
        lows.append(row.area["value"] if row.area["low"] is None else row.area["low"])
    _write_heads(ax, left=_count_points(rows) + _label_points(rows))
    # Down to the next tenth below the least bound, so that no interval is cut.
    ax.set_xlim(max(0.0, int(min(lows) * 10) / 10) - 0.01, 1.01)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MultipleLocator(0.1))
    ax.set_xlabel("AUC", fontsize=_FONT_POINTS)
    ax.tick_params(labelsize=_FONT_POINTS - 1)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.grid(visible=True, axis="x", color="#DDDDDD", linewidth=0.5)
    ax.set_axisbelow(True)


def _draw_area(
    ax: Axes, place: int, area: Mapping[str, Any], *, share: float, everybody: bool
) -> None:
    colour = "black" if everybody else OKABE_ITO[0]
    if area["low"] is not None:
        bounds = [area["low"], area["high"]]
        ax.plot(bounds, [place, place], color=colour, linewidth=1.4, zorder=2)
        for bound in bounds:
            ax.plot([bound, bound], [place - 0.16, place + 0.16], color=colour, linewidth=1.4)
    marker = "D" if everybody else "s"
    ax.scatter(area["value"], place, s=14 + 50 * share, marker=marker, color=colour, zorder=3)


def _rows(entry: Mapping[str, Any]) -> list[_Row]:
    rows = [_row(entry["overall"], heading=True)]
    for part in entry["characteristics"]:
        tests = _p(part["auc_test"]["p"]), _p(part["interaction"]["p"])
        rows.append(_Row(part["title"], tests=tests, heading=True))
        rows += [_row(level) for level in part["levels"]]
        if part["missing"] != 0:
            rows.append(_Row("missing", "–" if part["missing"] is None else str(part["missing"])))
    return rows


def _row(level: Mapping[str, Any], *, heading: bool = False) -> _Row:
    positives = level["positives"]
    printed = level["count"] if positives is None else f"{level['count']} ({positives})"
    return _Row(level["level"], printed, level["n"], level["auc"], heading=heading)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _area(area: Mapping[str, Any] | None) -> str:
    if area is None:
        return ""
    if area["value"] is None:
        return "–"
    bounds = "" if area["low"] is None else f" [{area['low']:.3f}, {area['high']:.3f}]"
    return f"{area['value']:.3f}{bounds}"


def _label_points(rows: list[_Row]) -> float:
    return _LETTER_POINTS * (max(len(row.label) for row in rows) + 2) + _GAP_POINTS


def _count_points(rows: list[_Row]) -> float:
    longest = max(len("n (positive)"), *(len(row.printed) for row in rows))
    return _LETTER_POINTS * longest + 2 * _GAP_POINTS


def _write(ax: Axes, place: float, row: _Row, *, left: float) -> None:
    weight = "bold" if row.heading else "normal"
    indent = 0.0 if row.heading else 2 * _LETTER_POINTS
    _put(ax, row.label, (0, place), indent - left, "left", weight=weight)
    _put(ax, row.printed, (0, place), -_GAP_POINTS, "right")
    texts = (_area(row.area), *row.tests)
    for text, (offset, align) in zip(texts, _RIGHT.values(), strict=True):
        _put(ax, text, (1, place), offset, align)


def _write_heads(ax: Axes, *, left: float) -> None:
    _put(ax, "Subgroup", (0, -1), -left, "left", weight="bold")
    _put(ax, "n (positive)", (0, -1), -_GAP_POINTS, "right", weight="bold")
    for text, (offset, align) in _RIGHT.items():
        _put(ax, text, (1, -1), offset, align, weight="bold")


def _put(
    ax: Axes,
    text: str,
    at: tuple[float, float],
    offset: float,
    align: str,
    *,
    weight: str = "normal",
) -> None:
    """Write beside the axes, at a distance in points, so that columns stay columns at any size."""
    if text:
        ax.annotate(
            text, at, (offset, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha=align, va="center", fontsize=_FONT_POINTS, weight=weight, annotation_clip=False,
            parse_math=False,
        )  # fmt: skip
