"""A method's performance by subgroup: the paper's supplementary Table 5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from axilla.analysis.tables.printed import (
    DASH,
    PrintedTable,
    format_auc,
    format_p,
    format_percent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PERCENTS = {
    "accuracy": "ACC (%)",
    "sensitivity": "SENS (%)",
    "specificity": "SPEC (%)",
    "ppv": "PPV (%)",
    "npv": "NPV (%)",
}
_P = ("p", "p (Holm)", "p (BH)", "p (interaction)")
_COLUMNS = ("Characteristic", "Level", "n", "Positive", "AUC", *_PERCENTS.values(), *_P)


def subgroup_table(entry: Mapping[str, Any]) -> PrintedTable:
    """Format one analysis of subgroups as the paper's supplementary Table 5.

    Parameters
    ----------
    entry
        An entry of the list `subgroups` in `metrics.json` (`SubgroupAnalysis.as_json`).

    Returns
    -------
    PrintedTable
        Columns Characteristic, Level, n, Positive, AUC, ACC, SENS, SPEC, PPV, NPV, then p of the
        areas' difference, the same adjusted over the characteristics by Holm and by Benjamini and
        Hochberg, and p of the interaction. After all patients a row a level; the p-values stand
        beside the first. Where values are missing a last row counts them. The notes say what was
        tested, and each reason for what is not there.
    """
    overall = entry["overall"]
    rows = [_row(overall) | {"Characteristic": overall["level"], "Level": ""}]
    for part in entry["characteristics"]:
        block = [_row(level) for level in part["levels"]]
        if part["missing"] != 0:
            told = DASH if part["missing"] is None else str(part["missing"])
            block.append({"Level": "Missing", "n": told})
        block = block or [{}]
        block[0] = block[0] | {"Characteristic": part["title"]} | _p_cells(part)
        rows += block
    frame = pd.DataFrame(rows, columns=_COLUMNS).fillna("")
    return PrintedTable(frame, (*_about(entry), *_reasons(entry)))


def _row(level: Mapping[str, Any]) -> dict[str, str]:
    positives = level["positives"]
    return {
        "Level": level["level"],
        "n": level["count"],
        "Positive": DASH if positives is None else str(positives),
        "AUC": format_auc(level["auc"]),
        **{column: format_percent(level[name]) for name, column in _PERCENTS.items()},
    }


def _p_cells(part: Mapping[str, Any]) -> dict[str, str]:
    area, slope = part["auc_test"], part["interaction"]
    values = (area["p"], area["p_holm"], area["p_bh"], slope["p"])
    return {
        name: DASH if value is None else format_p(value, decimals=4)
        for name, value in zip(_P, values, strict=True)
    }


def _about(entry: Mapping[str, Any]) -> Iterator[str]:
    several = any(len(part["auc_test"]["levels"]) > 2 for part in entry["characteristics"])
    more = ", or the chi-square test over three groups or more" if several else ""
    yield "Brackets: 95% confidence intervals; of the AUC the binomial exact one."
    yield (
        f"p: do the AUCs of the groups differ, by DeLong's test of different patients{more}; "
        "Holm, BH (Benjamini and Hochberg): adjusted for the number of characteristics."
    )
    yield (
        "p (interaction): do the odds of a positive rise differently with the score, by the "
        "likelihood-ratio test of logistic regression; not adjusted."
    )


def _reasons(entry: Mapping[str, Any]) -> Iterator[str]:
    overall = entry["overall"]
    yield from _of_level(overall["level"], overall)
    for part in entry["characteristics"]:
        for level in part["levels"]:
            yield from _of_level(f"{part['title']}, {level['level']}", level)
        if part["missing"] is None:
            yield (
                f"{part['title']}, missing: withheld, or the number of a smaller group could be "
                "calculated from it."
            )
        tests = {"no p": part["auc_test"], "no p of the interaction": part["interaction"]}
        for said, test in tests.items():
            if "reason" in test:
                yield f"{part['title']}: {said}, {test['reason']}."
            elif len(test["levels"]) < len(part["levels"]) and said == "no p":
                yield f"{part['title']}: tested over {', '.join(test['levels'])}."


def _of_level(name: str, level: Mapping[str, Any]) -> Iterator[str]:
    if "reason" in level:
        yield f"{name}: {level['reason']}."
        return
    for key, column in {"auc": "AUC", **_PERCENTS}.items():
        figure = level[key]
        if figure["value"] is None or figure["low"] is None:
            yield f"{name}, {column}: {figure['reason']}."
