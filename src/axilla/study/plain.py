"""The summary in plain language: what the counts of the test cohort mean for 100 patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from axilla.analysis.intervals import clopper_pearson
from axilla.core.config import StudyConfig
from axilla.core.methods import method_spec, method_title
from axilla.report.contents import Table
from axilla.study.wording import Wording, wording_of

MOST_TOLD = 3
"""Methods told in sentences; the table holds all of them."""
STAGED = ("n0-vs-npos", "n0-vs-n1-2", "n0-vs-n3plus")
"""Endpoints whose first class is 'no metastasis', so that a sentinel biopsy could be spared."""
COLUMNS = (
    "Method", "Threshold", "Called {1}, is {1}", "Called {1}, is {0}", "Called {0}, is {0}",
    "Called {0}, is {1} (missed)", "Called {0} in all",
)  # fmt: skip


def whole_numbers(counts: Sequence[int], total: int) -> tuple[int, ...]:
    """Share out `total` in proportion to counts, as whole numbers that add up to it.

    Each gets its share rounded down; what is left goes to the largest remainders, the earlier one
    where two are equal (Hamilton's method).

    Parameters
    ----------
    counts
        At least one of them above 0, unless `total` is 0.
    total
        What the result adds up to.
    """
    n = sum(counts)
    if n == 0:
        return (0,) * len(counts)
    found = [count * total // n for count in counts]
    remainders = [count * total % n for count in counts]
    order = sorted(range(len(counts)), key=lambda i: -remainders[i])
    for index in order[: total - sum(found)]:
        found[index] += 1
    return tuple(found)


def of_hundred(confusion: Mapping[str, int]) -> dict[str, int]:
    """Counts of a cross table as 100 patients, by the same names.

    Patients with and without the outcome are shared out first, and each by the model's call then:
    however many methods there are, the patients with the outcome are as many in each.
    """
    tp, fn, tn, fp = (confusion[name] for name in ("tp", "fn", "tn", "fp"))
    positive, negative = whole_numbers((tp + fn, tn + fp), 100)
    return {
        **dict(zip(("tp", "fn"), whole_numbers((tp, fn), positive), strict=True)),
        **dict(zip(("tn", "fp"), whole_numbers((tn, fp), negative), strict=True)),
    }


def plain_sentences(
    config: StudyConfig,
    classes: Sequence[str],
    metrics: Mapping[str, Any],
    *,
    wording: Wording | None = None,
) -> tuple[str, ...]:
    """What a clinician reads first; nothing where there is no tested patient with a call."""
    told = wording or wording_of(metrics)
    if len(classes) > 2:
        return _of_classes(config, classes, metrics, told)
    tested = _tested(metrics)
    if not tested:
        return ()
    first = next(iter(tested.values()))
    shown = of_hundred(first["confusion"])
    positive = first["confusion"]["tp"] + first["confusion"]["fn"]
    sentences = [
        (
            f"Of 100 patients like those {_whom(metrics, first, told)}, "
            f"about {shown['tp'] + shown['fn']} {_have(config, classes[1])} "
            f"(95% CI {_bounds(positive, first['n'])})."
        )
    ]
    sentences += [
        _method_sentence(config, classes, name, tested[name], chosen=_chosen(config, metrics, told))
        for name in _told(tested)
    ]
    if config.endpoint in STAGED:
        sentences.append(
            "Nobody was spared an operation here: these are counts in patients whose nodes were "
            "examined. They hold for patients among whom metastasis is as frequent as among these, "
            "and say nothing of one patient."
        )
    return tuple(sentences)


_BY_FOLDS = (
    "The threshold is the mean of all folds'; each patient is called at those of the folds that "
    "tested the patient."
)


def plain_table(
    classes: Sequence[str], metrics: Mapping[str, Any], *, wording: Wording | None = None
) -> Table | None:
    """The same for every method, with intervals: 100 patients by truth and call."""
    tested = _tested(metrics)
    if len(classes) > 2 or not tested:
        return None
    rows = []
    for name, entry in tested.items():
        shown = of_hundred(entry["confusion"])
        counts = entry["confusion"]
        cells = [
            f"{shown[cell]} [{_bounds(counts[cell], entry['n'], ', ')}]"
            for cell in ("tp", "fp", "tn", "fn")
        ]
        called = counts["tn"] + counts["fn"]
        cells.append(f"{shown['tn'] + shown['fn']} [{_bounds(called, entry['n'], ', ')}]")
        rows.append((method_title(name), f"{entry['threshold']:.3f}", *cells))
    titles = (wording or wording_of(metrics)).titles
    return Table(
        title=f"Of 100 patients: truth and call, {titles['test'].lower()} cohort",
        columns=tuple(column.format(*classes) for column in COLUMNS),
        rows=tuple(rows),
        notes=(
            (
                "Whole numbers that add up to 100, with 95% Clopper-Pearson intervals of the "
                "shares, rounded outwards. Counts of patients: figures/confusion_<method>_test.svg."
            ),
            *([_BY_FOLDS] if any(e.get("by_own_folds") for e in tested.values()) else []),
        ),
        csv_name="of_100_patients.csv",
        number_columns=tuple(range(1, len(COLUMNS))),
        listed=True,
    )


def _tested(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The test cohort's figures by method, of those that call a class."""
    return {
        name: entry
        for name, by_cohort in metrics["methods"].items()
        if (entry := by_cohort.get("test")) is not None
        and entry.get("confusion") is not None
        and entry["n"] > 0
    }


def _told(tested: Mapping[str, Any]) -> list[str]:
    """The methods told in sentences: all, or of many one of each kind, the first of them."""
    if len(tested) <= MOST_TOLD:
        return list(tested)
    kinds: dict[tuple[bool, bool] | str, str] = {}
    for name in tested:
        kinds.setdefault(_kind(name), name)
    return list(kinds.values())[:MOST_TOLD]


def _kind(name: str) -> tuple[bool, bool] | str:
    try:
        spec = method_spec(name)
    except KeyError:
        return name  # predictions made elsewhere
    return spec.images, spec.clinical


def _whom(metrics: Mapping[str, Any], entry: Mapping[str, Any], wording: Wording) -> str:
    if "folds" in metrics:
        return f"of this study ({entry['n']:,}, each scored by models that had not seen them)"
    return f"of {wording.tested} ({entry['n']:,} patients)"


def _have(config: StudyConfig, positive: str) -> str:
    if config.endpoint == "n0-vs-npos":
        return f"have metastasis in the axillary lymph nodes, {positive}"
    return f"are {positive}"


def _method_sentence(
    config: StudyConfig,
    classes: Sequence[str],
    name: str,
    entry: Mapping[str, Any],
    *,
    chosen: str,
) -> str:
    negative, positive = classes[0], classes[1]
    counts, shown = entry["confusion"], of_hundred(entry["confusion"])
    called = shown["tn"] + shown["fn"]
    bounds = _bounds(counts["tn"] + counts["fn"], entry["n"])
    spared = (
        f"If these {called} were spared sentinel node biopsy (95% CI {bounds}), "
        if config.endpoint in STAGED
        else f"Among these {called} (95% CI {bounds}), "
    )
    at = (
        f"at the thresholds of each patient's own folds ({entry['threshold']:.3f} in the mean)"
        if entry.get("by_own_folds")
        else f"at the threshold {entry['threshold']:.3f} ({chosen})"
    )
    return (
        f"{method_title(name)}: {at}, the model would call {shown['tp'] + shown['fp']} of these "
        f"100 patients {positive}, {shown['tp']} of them rightly, and {called} {negative}. "
        f"{spared}{shown['fn']} who are {positive} would have been missed "
        f"(95% CI {_bounds(counts['fn'], entry['n'])})."
    )


def _chosen(config: StudyConfig, metrics: Mapping[str, Any], wording: Wording) -> str:
    """Where a threshold comes from, in as many words as a sentence bears."""
    if wording.threshold is not None:
        return wording.threshold
    if config.threshold == "youden-per-cohort":
        return "chosen on these patients themselves, which is optimistic"
    if not config.needs_validation:
        return "fixed beforehand"
    return "the mean of the folds' own" if "folds" in metrics else "chosen on validation"


def _bounds(count: int, n: int, between: str = " to ") -> str:
    """A share's interval as patients of 100, rounded outwards."""
    share = clopper_pearson(count, n)
    # Bounds such as 28.999999999999996 are whole numbers.
    low, high = round(100 * share.low, 9), round(100 * share.high, 9)
    return f"{math.floor(low)}{between}{math.ceil(high)}"


def _of_classes(
    config: StudyConfig, classes: Sequence[str], metrics: Mapping[str, Any], wording: Wording
) -> tuple[str, ...]:
    """More than two classes: how many are of each, and how often the likeliest is right."""
    tested = {
        name: entry
        for name, by_cohort in metrics["methods"].items()
        if (entry := by_cohort.get("test")) is not None and entry["n"] > 0
    }
    if not tested:
        return ()
    first = next(iter(tested.values()))
    truths = [sum(row) for row in first["confusion_matrix"]]
    parts = [
        f"{number} are {name} (95% CI {_bounds(count, first['n'])})"
        for number, name, count in zip(whole_numbers(truths, 100), classes, truths, strict=True)
    ]
    whom = _whom(metrics, first, wording)
    sentences = [
        f"Of 100 patients like those {whom}, about {', '.join(parts[:-1])} and {parts[-1]}."
    ]
    # What a model's share of right calls is to be read against.
    most = max(range(len(classes)), key=truths.__getitem__)
    sentences.append(
        f"Calling everybody {classes[most]}, without a model, would be right in "
        f"{whole_numbers(truths, 100)[most]} of the 100."
    )
    for name in _told(tested):
        matrix, n = tested[name]["confusion_matrix"], tested[name]["n"]
        right = sum(matrix[i][i] for i in range(len(classes)))
        below = sum(matrix[i][j] for i in range(len(classes)) for j in range(i))
        shown = whole_numbers((right, below, n - right - below), 100)
        wrong = f"and the call would be wrong in {shown[1] + shown[2]}"
        if isinstance(config.endpoint, str):  # stages have an order
            wrong = (
                f"in {shown[1]} the call would be too low a stage (95% CI {_bounds(below, n)}), "
                f"and in {shown[2]} too high a one"
            )
        sentences.append(
            f"{method_title(name)}, calling the likeliest class: the call would be right in "
            f"{shown[0]} of the 100 (95% CI {_bounds(right, n)}), {wrong}."
        )
    return tuple(sentences)
