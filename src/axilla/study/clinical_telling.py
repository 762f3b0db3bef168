"""What was done with the clinical values: the report's sentences, and how many were made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from axilla.core.config import StudyConfig
from axilla.core.types import COHORT_TITLES, Patient
from axilla.mil.boosting import DEPTH, RATE, SUBSAMPLE, TREES
from axilla.mil.clinical import Filled
from axilla.study.clinical_checks import fit_on_training
from axilla.study.fitting import Fitting

NAMED = 10
"""Most patients that a sentence names; the others are counted."""


def clinical_sentence(config: StudyConfig) -> str:
    """How clinical data were read, for the report's methods."""
    clinical = config.clinical
    units = {column.name: column.shown_unit for column in clinical.numeric}
    names = ", ".join(f"{n}, {units[n]}" if units.get(n) else n for n in clinical.names)
    text = (
        f"Clinical data ({names}): numbers standardised by the training patients, categories "
        "one-hot"
    )
    if clinical.missing == "impute":
        text += (
            "; missing numbers are the training patients' mean and missing categories their most "
            "frequent one, with a flag of each column that some training patient lacks"
        )
    if clinical.unseen == "unknown":
        text += "; a category that no training patient had is none of the known ones"
    models = []
    if "clinical" in config.methods:
        models.append("'clinical data only' is a logistic regression")
    if "clinical-boosting" in config.methods:
        models.append(
            f"gradient boosting has {TREES} trees of depth {DEPTH}, learning rate {RATE:g} and "
            f"{SUBSAMPLE:.0%} of the patients a tree, untuned"
        )
    return "; ".join([text, *models]) + "."


def filled_sentences(fitting: Fitting) -> tuple[str, ...]:
    """What was imputed or taken as unknown: how many values, of which columns, in which cohort.

    Of folds every patient is counted once; a value counts as not flagged where in some fold no
    training patient lacked one.
    """
    config = fitting.config
    if not config.uses_clinical:
        return ()
    sides = _sides(fitting)
    cells: dict[str, dict[tuple[str, str, str | None], Filled]] = {side: {} for side in sides}
    for partition in fitting.partitions:
        preprocessor = fit_on_training(fitting.cohort, partition, config=config)
        for side, patients in sides.items():
            for cell in preprocessor.filled(patients):
                key = (cell.patient_id, cell.column, cell.value)
                # One fold that does not tell the value is enough to name it.
                if cells[side].get(key, cell).flagged or key not in cells[side]:
                    cells[side][key] = cell
    sentences: list[str] = []
    for side, by_key in cells.items():
        sentences += told_cells(list(by_key.values()), side=side)
    return tuple(sentences)


def told_cells(found: Sequence[Filled], *, side: str) -> tuple[str, ...]:
    """Sentences on cells of one cohort that a preprocessor filled in or did not know."""
    return (
        *_imputed([cell for cell in found if cell.value is None], side),
        *_unknown([cell for cell in found if cell.value is not None], side),
    )


def _sides(fitting: Fitting) -> dict[str, tuple[Patient, ...]]:
    if len(fitting.partitions) > 1:
        return {"All folds": fitting.cohort.patients}
    only = fitting.partitions[0]
    return {COHORT_TITLES[name]: fitting.patients(only, name) for name in ("train", "val", "test")}


def _imputed(cells: list[Filled], side: str) -> list[str]:
    if not cells:
        return []
    filled = "numbers by the training patients' mean, categories by their most frequent one"
    sentences = [f"{side}: {_count(cells)} missing and imputed ({_columns(cells)}), {filled}."]
    silent = [c for c in cells if not c.flagged]
    if silent:
        sentences.append(
            f"{side}: {_count(silent)} imputed without a flag, because no training patient lacked "
            f"one of the column ({_columns(silent)}), in {_people(silent)}."
        )
    return sentences


def _unknown(cells: list[Filled], side: str) -> list[str]:
    if not cells:
        return []
    names = Counter(f"{c.column} {c.value!r}" for c in cells)
    listed = ", ".join(f"{name} {count}" for name, count in sorted(names.items()))
    what = "of a category that no training patient had, taken as none of the known ones"
    return [f"{side}: {_count(cells)} {what} ({listed}), in {_people(cells)}."]


def _count(cells: list[Filled]) -> str:
    return f"{len(cells)} clinical value{'s were' if len(cells) != 1 else ' was'}"


def _columns(cells: Iterable[Filled]) -> str:
    counts = Counter(cell.column for cell in cells)
    return ", ".join(f"{column} {count}" for column, count in counts.items())


def _people(cells: Iterable[Filled]) -> str:
    names = list(dict.fromkeys(cell.patient_id for cell in cells))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"patient{'s' if len(names) > 1 else ''} {', '.join(names[:NAMED])}{more}"
