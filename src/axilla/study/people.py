"""Who is in which cohort and who left: written once, and checked whenever the study goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.split import enrolled_split
from axilla.core.types import Cohort, Partition
from axilla.study.layout import Layout, write_if_new

STEP = "split"
SPLIT = "split"
"""Name of the partition of a study without folds."""
COLUMNS = ["patient_id", "partition", "split"]
_NAMED = 5
"""So many patients a sentence names; the others are counted."""


def write_people(cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig) -> None:
    """Write `split.csv`, with its key, and `exclusions.csv`.

    A split is that of all enrolled patients, also of those who are outside this endpoint: every
    endpoint of the study's folder shares it. Folds are those of the endpoint's patients; a split
    that they replace is kept aside, as it holds again once the folds are gone.
    """
    layout = Layout(config.out)
    text = _split_text(cohort, partitions, config=config)
    key = _key(cohort, config=config)
    if enrolled_split(cohort, config=config) is None:
        _keep_split(layout)
    if not store.step_is_done(config.out, STEP, key=key) or _read(layout.split) != text:
        write_if_new(layout.split, text)
        store.write_step(config.out, STEP, key=key, files=[layout.split])
    gone = pd.DataFrame(
        [{"patient_id": e.patient_id, "step": e.step, "reason": e.reason} for e in cohort.excluded],
        columns=["patient_id", "step", "reason"],
    )
    write_if_new(layout.exclusions, _csv(gone))


def check_saved_split(
    cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig
) -> list[Problem]:
    """Whether the split of an earlier run in this folder still holds.

    A patient who was tested must not train now, nor the other way round: a model, a threshold or a
    reader of this folder has seen that patient on the other side. Training and validation may
    change places.
    """
    layout = Layout(config.out)
    now, text = enrolled_split(cohort, config=config), _read(layout.split)
    if now is None:
        return []  # folds test everybody
    fresh = _split_text(cohort, partitions, config=config)
    if text is None or text == fresh:
        return []
    file, saved = layout.split, _parse(text)
    if saved is None or _was_touched(layout, text):
        # No harm where what is computed now is what it held, or what is left of it, unrecorded.
        recorded = _recorded(layout)
        same = fresh.startswith(text) if recorded is None else store.text_digest(fresh) == recorded
        return [] if same else [_damaged(file)]
    if not _is_split(saved):
        # Folds came in between: the split before them is still the one that counts.
        file, text = layout.split_aside, _read(layout.split_aside)
        if text is None:
            return []
        saved = _parse(text)
        if saved is None:
            return [_damaged(file)]
    was = dict(zip(saved["patient_id"], saved["split"], strict=True))
    moved = [p for p in now if p in was and (was[p] == "test") != (now[p] == "test")]
    return [_moved([f"{p} from {was[p]} to {now[p]}" for p in moved], file)] if moved else []


def _keep_split(layout: Layout) -> None:
    """Keep the saved split aside, before folds are written in its place."""
    text = _read(layout.split)
    saved = None if text is None else _parse(text)
    if text is not None and saved is not None and _is_split(saved):
        write_if_new(layout.split_aside, text)


def _is_split(saved: pd.DataFrame) -> bool:
    """Whether it is one split, not folds."""
    return bool((saved["partition"] == SPLIT).all())


def _damaged(file: Path) -> Problem:
    return Problem(
        cause="the saved split is damaged or was edited by hand, and the split that the study now "
        "gives is not the one it held.",
        remedy="Put the file back, or give the study another `out:`.",
        file=file,
        code="split-damaged",
    )


def _moved(moves: list[str], file: Path) -> Problem:
    count = len(moves)
    named = ", ".join(moves[:_NAMED]) + (f" and {count - _NAMED} more" if count > _NAMED else "")
    return Problem(
        cause=f"{count} patient{'s' if count != 1 else ''} would move between training and test "
        f"against the split saved in this folder ({named}).",
        remedy="Put `split:` and the table back as they were; or keep the saved split: copy its "
        "column into the table and set split: {column: ...}; or give the study another `out:`.",
        file=file,
        code="split-changed",
    )


def _split_text(cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig) -> str:
    shared = enrolled_split(cohort, config=config)
    named = [(p.name, p.cohort_of) for p in partitions] if shared is None else [("split", shared)]
    rows = [(patient, name, side) for name, where in named for patient, side in where.items()]
    return _csv(pd.DataFrame(rows, columns=COLUMNS))


def _key(cohort: Cohort, *, config: StudyConfig) -> str:
    return store.digest(
        STEP, config.model_dump(mode="json")["split"], sorted(cohort.strata.items())
    )


def _csv(frame: pd.DataFrame) -> str:
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def _read(file: Path) -> str | None:
    """A saved split, None where there is none; what is no text is damaged, not missing."""
    try:
        return file.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _parse(text: str) -> pd.DataFrame | None:
    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except ValueError:  # pandas' parser errors are ValueErrors
        return None
    whole = list(frame.columns) == COLUMNS and frame["split"].isin(["train", "val", "test"]).all()
    return frame if whole else None


def _recorded(layout: Layout) -> str | None:
    """Digest of the split that was saved last, None where there is no whole record of it."""
    return store.step_files(layout.out, STEP).get(layout.split.name)


def _was_touched(layout: Layout, text: str) -> bool:
    """Whether the file is not what was recorded; without a record nobody can tell."""
    recorded = _recorded(layout)
    return recorded is not None and recorded != store.text_digest(text)
