"""Subgroups, against the paper's supplementary Table 5 and against every part by itself."""

from __future__ import annotations

import csv
import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from axilla.analysis.cohort_metrics import binary_entry
from axilla.analysis.interaction import interaction_test
from axilla.analysis.intervals import clopper_pearson
from axilla.analysis.roc import compare_groups, compare_unpaired
from axilla.analysis.subgroups import subgroup_analysis
from axilla.analysis.tables.subgroup_table import subgroup_table
from axilla.core.errors import StatisticsError

with Path(__file__).with_name("paper_tables.csv").open(encoding="utf-8", newline="") as _file:
    PAPER = [row for row in csv.DictReader(_file) if row["table"] == "S5"]
PAIRS = [(PAPER[i], PAPER[i + 1]) for i in range(0, len(PAPER), 2)]
SHARES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def make_cohort(seed=0, *, n=240, levels=("a", "b")):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scores = 1 / (1 + np.exp(-rng.normal(size=n) - labels))
    return labels, scores, rng.choice(levels, n)


def entry_of(*args, **options):
    """As `metrics.json` gives it back."""
    found = subgroup_analysis(*args, **{"threshold": 0.5} | options)
    return json.loads(json.dumps(found.as_json(method="m", cohort="test"), allow_nan=False))


def paper_patients(row):
    """Patients with the row's counts at threshold 0.5 and an area that prints as the row's does."""
    n, m = int(row["n"]), int(row["positives"])
    tp = round(float(row["sensitivity"].split()[0]) / 100 * m)
    tn = round(float(row["specificity"].split()[0]) / 100 * (n - m))
    fn, fp = m - tp, n - m - tn
    wins = next(w for w in range(m * (n - m)) if _prints(w / (m * (n - m)), n) == row["auc"])
    # Positives called positive beat all true negatives; the rest of the wins is made up within
    # those called positive, then within those called negative.
    above = min(wins - tp * tn, tp * fp)
    scores = [*_block(tp, fp, above, 0.5), *_block(fn, tn, wins - tp * tn - above, 0.0)]
    return [1] * tp + [0] * fp + [1] * fn + [0] * tn, scores


def _prints(area, n):
    figure = clopper_pearson(area * n, n)
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _block(positives, negatives, wins, start):
    """Scores from `start` on, within 0.5, of which so many pairs have the positive above."""
    low = np.arange(negatives) + 1.0
    full, rest = divmod(wins, max(negatives, 1))
    high = np.full(positives, 0.5)
    high[:full] = negatives + 0.5
    if full < positives:
        high[full] = rest + 0.5
    return [*(start + high / 1000), *(start + low / 1000)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0]["model"])
def test_every_cell_of_the_papers_table_comes_out_of_its_counts(pair):
    made = [paper_patients(row) for row in pair]
    labels, scores = (np.concatenate(part) for part in zip(*made, strict=True))
    names = np.repeat([row["model"] for row in pair], [int(row["n"]) for row in pair])
    table = subgroup_table(entry_of(labels, scores, {"any": names})).frame
    assert table["n"].tolist() == ["218", *(row["n"] for row in pair)]
    for (_, cells), row in zip(table[1:].iterrows(), pair, strict=True):
        assert cells["Positive"] == row["positives"]
        assert cells["AUC"] == row["auc"]
        columns = ("ACC (%)", "SENS (%)", "SPEC (%)", "PPV (%)", "NPV (%)")
        assert [cells[column] for column in columns] == [row[name] for name in SHARES]


def test_the_papers_table_5_is_all_there():
    assert [row["model"] for row, _ in PAIRS] == ["age<=50", "T1", "er+", "pr+", "her2+"]
    assert all(int(a["n"]) + int(b["n"]) == 218 for a, b in PAIRS)


def test_a_level_is_measured_as_a_cohort_of_its_own():
    labels, scores, names = make_cohort()
    part = entry_of(labels, scores, {"g": names})["characteristics"][0]
    for level in part["levels"]:
        own = names == level["level"]
        expected = binary_entry(labels[own], scores[own], threshold=0.5)
        expected.pop("threshold")
        assert expected.items() <= level.items()


def test_tests_are_those_of_their_own_modules():
    labels, scores, names = make_cohort()
    three = make_cohort(1, levels=("x", "y", "z"))[2]
    found = subgroup_analysis(labels, scores, {"two": names, "three": three}, threshold=0.5)
    two, more = found.characteristics
    order = [level.name for level in two.levels]
    parts = [(labels[names == name], scores[names == name]) for name in order]
    pair = compare_unpaired(*parts[0], *parts[1])
    assert (two.auc_test.test, two.auc_test.df) == ("unpaired DeLong", None)
    assert (two.auc_test.statistic, two.auc_test.p) == (pair.z, pair.p)
    assert two.auc_test.difference.value == pair.difference
    parts = [(labels[three == name], scores[three == name]) for name in ("x", "y", "z")]
    chi_square = compare_groups(parts)
    assert more.auc_test.statistic == pytest.approx(chi_square.chi_square)
    assert (more.auc_test.df, more.auc_test.p) == (2, pytest.approx(chi_square.p))
    slopes = [interaction_test(labels, scores, groups).p for groups in (names, three)]
    assert [part.interaction.p for part in (two, more)] == pytest.approx(slopes)


def test_p_values_are_adjusted_over_the_characteristics_that_have_one():
    labels, scores, _ = make_cohort()
    groups = {f"g{seed}": make_cohort(seed)[2] for seed in range(5)}
    groups["alike"] = np.repeat("a", len(labels))
    parts = subgroup_analysis(labels, scores, groups, threshold=0.5).characteristics
    assert math.isnan(parts[5].auc_test.p_holm)
    for kind in ("auc_test", "interaction"):
        tests = [getattr(part, kind) for part in parts[:5]]
        p = [test.p for test in tests]
        for method, name in (("holm", "p_holm"), ("fdr_bh", "p_bh")):
            expected = multipletests(p, method=method)[1]
            np.testing.assert_allclose([getattr(test, name) for test in tests], expected)


def test_patients_without_a_value_are_counted_and_in_no_level():
    labels, scores, names = make_cohort()
    with_gaps = pd.Series(names, dtype=object)
    with_gaps[:12] = [None, np.nan, pd.NA] * 4
    part = entry_of(labels, scores, {"g": with_gaps})["characteristics"][0]
    alone = entry_of(labels[12:], scores[12:], {"g": names[12:]})["characteristics"][0]
    assert (part.pop("missing"), alone.pop("missing")) == (12, 0)
    by_name = [sorted(x.pop("levels"), key=lambda level: level["level"]) for x in (part, alone)]
    assert by_name[0] == by_name[1]


def test_levels_come_in_the_order_of_the_categories():
    labels, scores, names = make_cohort()
    ordered = pd.Categorical(names, categories=["b", "nobody", "a"])
    levels = entry_of(labels, scores, {"g": pd.Series(ordered)})["characteristics"][0]["levels"]
    assert [level["level"] for level in levels] == ["b", "nobody", "a"]
    assert (levels[1]["count"], levels[1]["reason"]) == ("0", "no patient is of this group")


def test_a_small_level_leaves_no_number_of_itself_anywhere():
    labels, scores, names = make_cohort(n=200, levels=("a", "b"))
    names = names.astype(object)
    names[:7] = "rare"
    entry = entry_of(labels, scores, {"g": names})
    levels = {level["level"]: level for level in entry["characteristics"][0]["levels"]}
    small = levels["rare"]
    assert (small["count"], small["n"], small["positives"]) == ("<10", None, None)
    assert (small["suppressed"], small["reason"]) == ("small", "fewer than 10 patients")
    assert small["confusion"] is None
    for name in ("auc", *SHARES, "f1"):
        assert {small[name][key] for key in ("value", "low", "high")} == {None}
    hidden = [name for name in "ab" if levels[name]["suppressed"] == "complementary"]
    assert len(hidden) == 1
    assert levels[hidden[0]]["count"] == "–"
    assert "smaller group could be calculated" in levels[hidden[0]]["reason"]
    # Nor do the tests look at them.
    assert len(entry["characteristics"][0]["auc_test"]["levels"]) == 1
    assert entry["characteristics"][0]["interaction"]["reason"] == "only one group has figures"


def test_where_the_bound_itself_would_tell_neither_level_is_named_the_small_one():
    labels, scores, _ = make_cohort(n=11)
    levels = entry_of(labels, scores, {"g": ["a"] + ["b"] * 10})["characteristics"][0]["levels"]
    first, second = ({**level, "level": ""} for level in levels)
    assert first == second
    assert (first["count"], first["reason"]) == ("–", "withheld, the groups are too small")


@pytest.mark.parametrize("seed", range(20))
def test_suppression_cannot_be_undone_by_subtraction(seed):
    """A reader tries every size of the levels that fits what the entry says of them."""
    rng = np.random.default_rng(seed)
    labels, scores, _ = make_cohort(seed, n=60)
    shares = rng.dirichlet([1, 0.6, 0.2, 0.2])
    names = rng.choice(np.array(["a", "b", "c", None], dtype=object), 60, p=shares)
    entry = entry_of(labels, scores, {"g": names})
    part = entry["characteristics"][0]
    cells = [(level["count"], level["n"]) for level in part["levels"]]
    if part["missing"] != 0:
        cells.append(("–" if part["missing"] is None else "shown", part["missing"]))
    options = [
        [n] if n is not None else range(1, 10) if count == "<10" else range(61)
        for count, n in cells
    ]
    fits = np.array([sizes for sizes in product(*options) if sum(sizes) == entry["overall"]["n"]])
    withheld = [index for index, (_, n) in enumerate(cells) if n is None]
    assert all(len(set(fits[:, index])) > 1 for index in withheld)
    sizes = pd.Series(names).value_counts()
    for level in part["levels"]:
        assert level["n"] is None or level["n"] == sizes[level["level"]] >= 10


def test_too_few_of_a_class_have_counts_and_no_figures():
    labels, scores, names = make_cohort()
    labels[names == "a"] = 0
    labels[np.flatnonzero(names == "a")[:4]] = 1
    part = entry_of(labels, scores, {"g": names})["characteristics"][0]
    level = next(level for level in part["levels"] if level["level"] == "a")
    assert (level["count"], level["positives"]) == (str((names == "a").sum()), 4)
    assert (level["suppressed"], level["auc"]["value"]) == ("class", None)
    assert level["reason"] == "fewer than 5 patients are positive"
    assert part["auc_test"]["reason"] == "only one group has figures"
    shown = entry_of(labels, scores, {"g": names}, minimum_of_class=4)["characteristics"][0]
    assert shown["auc_test"]["p"] is not None


def test_a_level_that_is_separated_perfectly_has_an_area_and_no_test():
    labels, scores, names = make_cohort()
    own = names == "a"
    scores[own] = 0.2 + 0.6 * labels[own]
    part = entry_of(labels, scores, {"g": names})["characteristics"][0]
    level = next(level for level in part["levels"] if level["level"] == "a")
    assert level["auc"]["value"] == 1
    assert part["auc_test"]["p"] is None
    assert part["auc_test"]["reason"].startswith("a: DeLong's variance is zero")
    assert part["interaction"]["reason"].startswith("the score separates the classes of a")


def test_without_a_threshold_the_areas_stand_and_the_shares_say_why_not():
    labels, scores, names = make_cohort()
    entry = entry_of(labels, scores, {"g": names}, threshold="no validation cohort")
    assert entry["threshold"] is None
    for level in (entry["overall"], *entry["characteristics"][0]["levels"]):
        assert level["auc"]["value"] is not None
        assert level["ppv"] == {
            "value": None, "low": None, "high": None, "reason": "no validation cohort",
        }  # fmt: skip


def test_a_cohort_of_one_class_has_reasons_only():
    _, scores, names = make_cohort()
    entry = entry_of(np.ones(240, dtype=int), scores, {"g": names})
    assert entry["overall"]["reason"] == "all 240 patients are positive"
    assert entry["characteristics"][0]["auc_test"]["reason"] == "no group has figures"


def test_a_characteristic_of_missing_values_only():
    labels, scores, _ = make_cohort()
    part = entry_of(labels, scores, {"g": [None] * 240})["characteristics"][0]
    assert (part["levels"], part["missing"]) == ([], 240)


def test_a_characteristic_of_other_patients_is_refused():
    labels, scores, names = make_cohort()
    with pytest.raises(StatisticsError, match="g has 239 values for 240 patients"):
        subgroup_analysis(labels, scores, {"g": names[1:]}, threshold=0.5)
