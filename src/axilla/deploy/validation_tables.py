"""Tables of an external validation: the model here beside itself on its own validation patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axilla.analysis.tables.performance_table import multiclass_table, performance_table
from axilla.analysis.tables.printed import DASH, PrintedTable, format_auc, format_percent
from axilla.report.contents import Table
from axilla.study.wording import Wording

_SHARES = {
    "sensitivity": "Sensitivity (%)",
    "specificity": "Specificity (%)",
    "ppv": "PPV (%)",
    "npv": "NPV (%)",
}


def beside_table(record: Mapping[str, Any], entry: Mapping[str, Any]) -> Table:
    """The model's figures here and on the validation patients of the study that trained it.

    Parameters
    ----------
    record
        Of the bundle.
    entry
        The measured cohort's of `metrics.json`.
    """
    own = record.get("validation")
    rows: list[tuple[str, ...]] = [
        ("Patients", DASH if own is None else f"{own['n']:,}", f"{entry['n']:,}")
    ]
    if "auc_by_class" in entry:
        rows.append(("Mean AUC, DeLong", _delong(own), _delong(entry)))
    else:
        rows.append(
            (
                f"Of them {record['classes'][1]}",
                DASH if own is None else _share(own["positives"], own["n"]),
                _share(entry["positives"], entry["n"]),
            )
        )
        rows.append(
            ("AUC, binomial exact", DASH if own is None else format_auc(own["auc"]),
             format_auc(entry["auc"]))
        )  # fmt: skip
        rows.append(("AUC, DeLong", _delong(own), _delong(entry)))
        value = record["threshold"]["value"]
        rows.append(("Threshold", *([DASH if value is None else f"{value:.3f}"] * 2)))
        for name, title in _SHARES.items():
            theirs = None if own is None else own.get(name)
            cell = DASH if theirs is None else format_percent(theirs)
            rows.append((title, cell, format_percent(entry[name])))
    return Table(
        title="The model here and in its own study",
        columns=("Figure", "Its own validation patients", "Patients here"),
        rows=tuple(rows),
        notes=_beside_notes(record, own),
        csv_name="here_and_there.csv",
        number_columns=(1, 2),
    )


def _beside_notes(record: Mapping[str, Any], own: Mapping[str, Any] | None) -> tuple[str, ...]:
    notes = ["95% confidence intervals in brackets; figures per cent at the locked threshold."]
    if own is None:
        why = (
            "it is a checkpoint of elsewhere" if record.get("source") is not None
            else "it is the ensemble of all folds, whose members validated one another"
            if (record.get("partition") or {}).get("name") == "folds"
            else "its study had no validation patients"
        )  # fmt: skip
        notes.append(f"The model holds no figures of its own validation patients: {why}.")
    else:
        notes.append(
            "Its own validation patients may have chosen its epoch and threshold: their figures "
            "may be better than any new patient's would be."
        )
    reason = record["threshold"].get("reason")
    if reason is not None:
        notes.append(f"The model has no threshold: {reason}.")
    return tuple(notes)


def printed_performance(metrics: Mapping[str, Any], *, wording: Wording) -> PrintedTable:
    """Table 2, of two classes or more."""
    (by_cohort,) = metrics["methods"].values()
    table = multiclass_table if "auc_by_class" in by_cohort["test"] else performance_table
    return table(metrics, cohort_titles=wording.titles)


def as_table(
    printed: PrintedTable, *, title: str, csv_name: str, notes: tuple[str, ...] = ()
) -> Table:
    """A printed table as the report takes it; `notes` after its own."""
    frame = printed.frame
    return Table(
        title=title,
        columns=tuple(map(str, frame.columns)),
        rows=tuple(tuple(map(str, row)) for row in frame.itertuples(index=False)),
        notes=(*printed.notes, *notes),
        csv_name=csv_name,
    )


def _delong(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return DASH
    auc = entry["auc"]
    return format_auc({"value": auc["value"], "low": auc["delong_low"], "high": auc["delong_high"]})


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f}%)"
