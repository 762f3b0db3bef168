"""How well a score does in each subgroup of the patients: the paper's supplementary Table 5."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from axilla.analysis.cohort_metrics import MEASURES, count_calls, measures
from axilla.analysis.interaction import interaction_test
from axilla.analysis.intervals import as_json, finite_or_none
from axilla.analysis.multiplicity import benjamini_hochberg, holm
from axilla.analysis.roc import (
    AucEstimate,
    auc_estimate,
    compare_groups,
    compare_unpaired,
    one_class,
)
from axilla.analysis.suppression import Suppression, Withheld, suppress
from axilla.core.errors import StatisticsError
from axilla.core.types import Confusion, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    _Called = NDArray[np.bool_] | str

WITHHELD = "–"
"""In place of a count whose size must not be told at all."""
ALL_PATIENTS = "All patients"

_UNPAIRED = "unpaired DeLong"
_HETEROGENEITY = "heterogeneity of areas, DeLong"
_INTERACTION = "interaction, likelihood ratio"


@dataclass(frozen=True, slots=True)
class Level:
    """The figures of one subgroup; NaN, with the reason, where they are suppressed."""

    name: str
    count: str
    """The number of patients as it may be printed: `67`, `<10`, or a dash."""
    n: int | None
    """None where it is withheld; the number itself is then nowhere in the result."""
    positives: int | None
    auc: AucEstimate
    measures: Mapping[str, Estimate]
    """Accuracy, sensitivity, specificity, PPV, NPV and F1 at the threshold."""
    confusion: Confusion | None
    suppressed: Withheld | Literal["class"] | None = None
    """small: too few patients; complementary: it would give a small one away; class: too few of a
    class to estimate anything, with the counts told."""
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the level's part of the entry in `metrics.json`."""
        counts = self.confusion
        confusion = counts and {name: getattr(counts, name) for name in ("tp", "fn", "tn", "fp")}
        entry: dict[str, Any] = {"level": self.name, "count": self.count}
        entry |= {"n": self.n, "positives": self.positives, "suppressed": self.suppressed}
        entry |= {"reason": self.reason} if self.reason else {}
        entry |= {"auc": self.auc.as_json()}
        entry |= {name: as_json(value) for name, value in self.measures.items()}
        return entry | {"confusion": confusion}


@dataclass(frozen=True, slots=True)
class GroupTest:
    """One test over the levels of a characteristic."""

    test: str
    levels: tuple[str, ...]
    """The levels that are shown; the others are not tested either."""
    statistic: float = math.nan
    """z of the unpaired test, chi-square of the others."""
    df: int | None = None
    """Degrees of freedom of a chi-square."""
    p: float = math.nan
    p_holm: float = math.nan
    """Adjusted over the characteristics of this analysis, each kind of test by itself."""
    p_bh: float = math.nan
    difference: Estimate | None = None
    """Area of the first of two levels less that of the second, DeLong's 95% interval."""
    reason: str | None = None
    """Why there is no p."""

    def as_json(self) -> dict[str, Any]:
        """Return the test's part of the entry in `metrics.json`."""
        entry: dict[str, Any] = {"test": self.test, "levels": list(self.levels)}
        entry |= {"statistic": finite_or_none(self.statistic), "df": self.df}
        entry |= {name: finite_or_none(getattr(self, name)) for name in ("p", "p_holm", "p_bh")}
        if self.difference is not None:
            entry["difference"] = as_json(self.difference)
        return entry | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One division of the patients into subgroups."""

    title: str
    missing: int | None
    """Patients without a value, in no level; None where even that is withheld."""
    levels: tuple[Level, ...]
    auc_test: GroupTest
    """Whether the areas differ."""
    interaction: GroupTest
    """Whether the odds of positive nodes rise differently with the score."""


@dataclass(frozen=True, slots=True)
class SubgroupAnalysis:
    """All characteristics of one method's score on one cohort."""

    overall: Level
    characteristics: tuple[Characteristic, ...]
    threshold: float | None
    minimum: int
    minimum_of_class: int

    def as_json(self, *, method: str, cohort: str) -> dict[str, Any]:
        """Return the entry of the list `subgroups` in `metrics.json`."""
        return {
            "method": method,
            "cohort": cohort,
            "threshold": self.threshold,
            "minimum": self.minimum,
            "minimum_of_class": self.minimum_of_class,
            "overall": self.overall.as_json(),
            "characteristics": [
                {
                    "title": part.title,
                    "missing": part.missing,
                    "levels": [level.as_json() for level in part.levels],
                    "auc_test": part.auc_test.as_json(),
                    "interaction": part.interaction.as_json(),
                }
                for part in self.characteristics
            ],
        }


def subgroup_analysis(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Mapping[str, Sequence[Any] | pd.Series[Any]],
    *,
    threshold: float | str,
    own_thresholds: NDArray[np.float64] | None = None,
    minimum: int = 10,
    minimum_of_class: int = 5,
) -> SubgroupAnalysis:
    """Measure a score in the subgroups, and test whether it does differently in them.

    Parameters
    ----------
    labels
        [n], 0 or 1.
    scores
        [n], probability of the positive class.
    groups
        The level's name of each patient [n], in the order of `labels`, by the characteristic's
        title. Levels come in the order of the categories, else of their first appearance; a
        missing value puts a patient in no level.
    threshold
        The locked threshold, the same in all levels, or the reason why there is none.
    own_thresholds
        [n], what each patient's score is called by, where not all by the same.
    minimum
        A level of fewer patients is withheld, and with it what would give its number away (see
        `suppress`); 1 withholds nothing.
    minimum_of_class
        A level with fewer positives or fewer negatives has its counts and no figures.

    Returns
    -------
    SubgroupAnalysis
        Two levels that are shown are compared by DeLong's unpaired test, three or more by the
        chi-square of `compare_groups`; the interaction is that of `interaction_test`. p-values are
        adjusted over the characteristics by Holm's and by Benjamini and Hochberg's way.

    Raises
    ------
    StatisticsError
        A characteristic does not have a value for each patient, or labels or scores are not
        what they should be.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    called = _called(values, threshold, own_thresholds)
    parts = []
    for title, names in groups.items():
        if len(names) != len(truth):
            raise StatisticsError(
                f"the characteristic {title} has {len(names)} values for {len(truth)} patients.",
                "Give one value a patient, missing where it is unknown.",
            )
        levels = _members(names)
        known = np.any([*levels.values(), np.zeros(len(truth), dtype=bool)], axis=0)
        counts = [(int(own.sum()), int(truth[own].sum())) for own in levels.values()]
        withheld = suppress(
            counts,
            missing=(int((~known).sum()), int(truth[~known].sum())),
            minimum=minimum,
        )
        shown = {
            name: _level(
                name, truth[own], values[own],
                called=called if isinstance(called, str) else called[own],
                mark=mark, rule=withheld, minimum=minimum, minimum_of_class=minimum_of_class,
            )
            for (name, own), mark in zip(levels.items(), withheld.levels, strict=True)
        }  # fmt: skip
        tested = {name: own for name, own in levels.items() if shown[name].suppressed is None}
        parts.append(
            Characteristic(
                title=title,
                missing=None if withheld.missing else int((~known).sum()),
                levels=tuple(shown.values()),
                auc_test=_auc_test(truth, values, tested, shown),
                interaction=_interaction(truth, values, tested),
            )
        )
    return SubgroupAnalysis(
        overall=_overall(truth, values, called=called),
        characteristics=_adjusted(parts),
        threshold=None if isinstance(threshold, str) else float(threshold),
        minimum=minimum,
        minimum_of_class=minimum_of_class,
    )


def _called(
    values: NDArray[np.float64], threshold: float | str, own: NDArray[np.float64] | None
) -> _Called:
    if isinstance(threshold, str):
        return threshold
    return values >= (threshold if own is None else own)


def _members(names: Sequence[Any] | pd.Series[Any]) -> dict[str, NDArray[np.bool_]]:
    """Who is in each level, in the order of the levels."""
    column = names if isinstance(names, pd.Series) else pd.Series(list(names), dtype=object)
    if isinstance(column.dtype, pd.CategoricalDtype):
        order = list(column.cat.categories)
    else:
        order = list(column.dropna().unique())
    cells = column.astype(object)
    return {str(name): (cells == name).fillna(False).to_numpy(dtype=bool) for name in order}


def _level(
    name: str,
    truth: NDArray[Any],
    values: NDArray[np.float64],
    *,
    called: _Called,
    mark: Withheld | None,
    rule: Suppression,
    minimum: int,
    minimum_of_class: int,
) -> Level:
    if mark is not None:
        told = mark == "small" and rule.bound_told
        if told:
            reason = f"fewer than {minimum} patients"
        elif rule.bound_told:
            reason = "withheld, or the number of a smaller group could be calculated from it"
        else:
            reason = "withheld, the groups are too small"
        count = f"<{minimum}" if told else WITHHELD
        # Without the bound not even which of the levels is the small one may be told.
        kind: Withheld = mark if rule.bound_told else "small"
        return _without_figures(name, count, None, None, suppressed=kind, reason=reason)
    n, positives = len(truth), int(truth.sum())
    if n == 0:
        return _without_figures(
            name, "0", 0, 0, suppressed="class", reason="no patient is of this group"
        )
    if min(positives, n - positives) < minimum_of_class:
        which = "positive" if positives < minimum_of_class else "negative"
        reason = f"fewer than {minimum_of_class} patients are {which}"
        return _without_figures(name, str(n), n, positives, suppressed="class", reason=reason)
    return _figures(name, truth, values, called=called)


def _figures(
    name: str, truth: NDArray[Any], values: NDArray[np.float64], *, called: _Called
) -> Level:
    if isinstance(called, str):
        confusion, shares = None, dict.fromkeys(MEASURES, Estimate(math.nan, reason=called))
    else:
        confusion = count_calls(truth, called)
        shares = measures(confusion)
    return Level(
        name=name,
        count=str(len(truth)),
        n=len(truth),
        positives=int(truth.sum()),
        auc=auc_estimate(truth, values),
        measures=shares,
        confusion=confusion,
    )


def _without_figures(
    name: str,
    count: str,
    n: int | None,
    positives: int | None,
    *,
    suppressed: Withheld | Literal["class"] | None,
    reason: str,
) -> Level:
    nothing = Estimate(math.nan, reason=reason)
    return Level(
        name=name,
        count=count,
        n=n,
        positives=positives,
        auc=AucEstimate(nothing, nothing),
        measures=dict.fromkeys(MEASURES, nothing),
        confusion=None,
        suppressed=suppressed,
        reason=reason,
    )


def _overall(truth: NDArray[Any], values: NDArray[np.float64], *, called: _Called) -> Level:
    positive = truth.astype(bool)
    if positive.all() or not positive.any():
        return _without_figures(
            ALL_PATIENTS, str(len(truth)), len(truth), int(positive.sum()),
            suppressed="class", reason=one_class(positive),
        )  # fmt: skip
    return _figures(ALL_PATIENTS, truth, values, called=called)


def _auc_test(
    truth: NDArray[Any],
    values: NDArray[np.float64],
    tested: Mapping[str, NDArray[np.bool_]],
    shown: Mapping[str, Level],
) -> GroupTest:
    names = tuple(tested)
    blank = GroupTest(_UNPAIRED if len(names) <= 2 else _HETEROGENEITY, names)
    if len(names) < 2:
        return replace(blank, reason=_too_few(names))
    without = next((name for name in names if math.isnan(shown[name].auc.delong.low)), None)
    if without is not None:
        # A variance of zero is one that the sample is too small to show; it would count as known.
        return replace(blank, reason=f"{without}: {shown[without].auc.delong.reason}")
    parts = [(truth[own], values[own]) for own in tested.values()]
    if len(names) > 2:
        found = compare_groups(parts)
        return replace(blank, statistic=found.chi_square, df=found.df, p=found.p)
    two = compare_unpaired(*parts[0], *parts[1])
    difference = Estimate(two.difference, two.low, two.high)
    return replace(blank, statistic=two.z, p=two.p, difference=difference)


def _interaction(
    truth: NDArray[Any], values: NDArray[np.float64], tested: Mapping[str, NDArray[np.bool_]]
) -> GroupTest:
    blank = GroupTest(_INTERACTION, tuple(tested))
    if len(tested) < 2:
        return replace(blank, reason=_too_few(blank.levels))
    names = np.full(len(truth), None, dtype=object)
    for name, own in tested.items():
        names[own] = name
    known = np.any(list(tested.values()), axis=0)
    try:
        found = interaction_test(truth[known], values[known], names[known])
    except StatisticsError as error:
        return replace(blank, reason=error.problem.cause.rstrip("."))
    return replace(blank, statistic=found.chi_square, df=found.df, p=found.p)


def _too_few(names: Sequence[str]) -> str:
    return "only one group has figures" if names else "no group has figures"


def _adjusted(parts: Sequence[Characteristic]) -> tuple[Characteristic, ...]:
    tests = {
        "auc_test": [part.auc_test for part in parts],
        "interaction": [part.interaction for part in parts],
    }
    for kind, family in tests.items():
        known = [index for index, test in enumerate(family) if not math.isnan(test.p)]
        p = [family[index].p for index in known]
        for index, strict, lenient in zip(known, holm(p), benjamini_hochberg(p), strict=True):
            tests[kind][index] = replace(family[index], p_holm=strict, p_bh=lenient)
    return tuple(
        replace(part, auc_test=area, interaction=slope)
        for part, area, slope in zip(parts, tests["auc_test"], tests["interaction"], strict=True)
    )
