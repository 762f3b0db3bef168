"""Learning curves: each method trained on growing parts of the training patients.

Scored on the validation cohort only: a curve that is looked at before a decision would otherwise
spend the test cohort. Validation also chooses the best epoch, so its areas are optimistic, alike
at each size.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from axilla.analysis.learning_curve import (
    LearningCurve,
    LearningRun,
    learning_curve,
    nested_subsets,
)
from axilla.analysis.plots.learning import draw_learning_curves
from axilla.analysis.roc import auc, macro_interval
from axilla.analysis.tables.learning_table import learning_table
from axilla.core import store
from axilla.core.config import StudyConfig, endpoint_name
from axilla.core.errors import CohortError, ConfigError, StoreError
from axilla.core.methods import method_spec, method_title
from axilla.core.progress import Reporter
from axilla.core.types import CohortName, Partition
from axilla.mil.devices import denormals_flushed
from axilla.study.chain import prepare
from axilla.study.clinical_checks import fit_on_training
from axilla.study.evaluating import write_figure, write_table
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.nuclei_bags import seen_by
from axilla.study.scoring import scores_of
from axilla.study.training import fit_bundle

SHARES = (0.25, 0.5, 0.75, 1.0)
REPEATS = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Part of the training patients, with all of validation, and without test."""

    share: float
    repeat: int
    partition: Partition

    @property
    def n(self) -> int:
        """Training patients."""
        return len(self.partition.members("train"))


def learn_curves(
    config: StudyConfig,
    *,
    shares: Sequence[float] = SHARES,
    repeats: int = REPEATS,
    exclude_failed: bool = False,
    reporter: Reporter,
) -> dict[str, dict[str, LearningCurve]]:
    """Train every method of a study on parts of its training patients, and write the curves.

    Parameters
    ----------
    config
        The study; features that are there are used, others are computed first.
    shares
        Of the training patients of each class, fractions at most 1.
    repeats
        Other patients each time; the smaller shares of one repeat lie within its larger ones.
    exclude_failed
        Go on without the patients whose inputs are wrong.
    reporter
        Is told of the progress.

    Returns
    -------
    dict
        Curves by the endpoint's name and method. `learning_curve.json`,
        `tables/learning_curve.*` and `figures/learning_curve.*` are written under each endpoint's
        `out`. Killed and started again, it goes on with the training at which it was.

    Raises
    ------
    ConfigError
        The study is cross-validated, or nobody validates.
    StatisticsError
        A share is not a fraction.
    InputProblems, BusyError
        As from `run`.
    """
    if config.crossed:
        raise ConfigError(
            "a learning curve needs one split, and this study is cross-validated.",
            "Set `split:` with a share for test and validation.",
        )
    one = config.training.model_copy(update={"devices": "auto"})
    alone = config.model_copy(update={"training": one})
    with denormals_flushed(), store.locked(config.out):
        store.sweep(config.out)
        fittings = prepare(alone, exclude_failed=exclude_failed, reporter=reporter)
        return {
            # Not the column: several endpoints may be made of one.
            endpoint_name(fitting.config.endpoint): _learn(
                fitting, shares=sorted(set(shares)), repeats=repeats, reporter=reporter
            )
            for fitting in fittings
        }


def _learn(
    fitting: Fitting, *, shares: Sequence[float], repeats: int, reporter: Reporter
) -> dict[str, LearningCurve]:
    (whole,) = fitting.partitions
    if not whole.members("val"):
        raise ConfigError(
            "a learning curve is scored on the validation cohort, and nobody is in it.",
            "Set a share in split.validation, or name patients `val` in the split's column.",
        )
    layout = Layout(fitting.config.out)
    parts = _parts(fitting, whole, shares=shares, repeats=repeats)
    everybody = len(whole.members("train"))
    wanted = [
        (method, part)
        for method in fitting.config.methods
        for part in parts
        if method_spec(method).images or part.repeat == 0 or part.n < everybody
    ]
    runs: dict[str, list[LearningRun]] = {method: [] for method in fitting.config.methods}
    remarks: dict[str, _Remarks] = {method: _Remarks([], []) for method in runs}
    for method, part in reporter.track(wanted, "Learning curve"):
        try:
            view, lacking = _as_read(fitting, method, part.partition)
        except CohortError as error:
            # The study is in order, as all training patients together were checked: what is left
            # out is one part of them, and the curve of the others is no less true.
            remarks[method].left_out.append((part, error.problem.cause))
            continue
        remarks[method].lacking.extend(lacking)
        area = _area(view, method, part.partition, reporter=reporter)
        runs[method].append(LearningRun(part.n, part.repeat, area))
    seed = fitting.config.training.seed
    curves = {
        method: replace(
            learning_curve(own, extrapolate_to=2 * everybody, seed=seed),
            notes=remarks[method].sentences(),
        )
        for method, own in runs.items()
    }
    _write(curves, layout)
    trained = sum(map(len, runs.values()))
    reporter.done("learning", f"{trained} trainings, {layout.figures / 'learning_curve.png'}")
    return curves


@dataclass(frozen=True, slots=True, eq=False)
class _Remarks:
    """What a reader of one method's curve must know of its trainings."""

    left_out: list[tuple[_Part, str]]
    """Parts that nothing can be learned from, each with the reason."""
    lacking: list[tuple[str, str]]
    """Column and category of validation patients that a part lacks, once a training."""

    def sentences(self) -> tuple[str, ...]:
        found = [
            f"{part.share:.0%} of the training patients, repeat {part.repeat + 1}, was not "
            f"trained: this share is too small, {cause[:1].lower()}{cause[1:].rstrip('.')}"
            for part, cause in self.left_out
        ]
        for (column, name), count in sorted(Counter(self.lacking).items()):
            times = f"{count} training{'s' if count != 1 else ''}"
            found.append(
                f"in {times} no training patient had `{column}` {name!r}, which validation "
                "patients have: it was taken for none of the known categories"
            )
        return tuple(found)


def _parts(
    fitting: Fitting, whole: Partition, *, shares: Sequence[float], repeats: int
) -> list[_Part]:
    labels = fitting.cohort.labels()
    people = sorted(whole.members("train"))
    truth = [labels[patient] for patient in people]
    found = []
    for repeat in range(repeats):
        seed = whole.seed + repeat
        for share, places in zip(
            shares, nested_subsets(truth, shares=shares, seed=seed), strict=True
        ):
            trains = {people[place] for place in places}
            where: dict[str, CohortName] = {
                patient: cohort
                for patient, cohort in whole.cohort_of.items()
                if cohort == "val" or patient in trains
            }
            name = f"{round(1000 * share)}-{repeat}"
            part = Partition(name=name, cohort_of=where, repeat=repeat, seed=seed)
            found.append(_Part(share, repeat, part))
    return found


def _as_read(
    fitting: Fitting, method: str, part: Partition
) -> tuple[Fitting, list[tuple[str, str]]]:
    """The study as a part is trained in, and categories of validation patients that it lacks.

    These are taken for none of the known ones, whatever `clinical.unseen` says: the part lacks them
    because it is small, not because a value is wrong.

    Raises
    ------
    CohortError
        A clinical column cannot be learned from in this part.
    """
    if not method_spec(method).clinical:
        return fitting, []
    config = fitting.config
    reads = fit_on_training(fitting.cohort, part, config=config)
    filled = reads.filled(fitting.patients(part, "val"))
    lacking = sorted({(cell.column, cell.value) for cell in filled if cell.value is not None})
    if not lacking:
        return fitting, []
    clinical = config.clinical.model_copy(update={"unseen": "unknown"})
    return replace(fitting, config=config.model_copy(update={"clinical": clinical})), lacking


def _area(fitting: Fitting, method: str, part: Partition, *, reporter: Reporter) -> float:
    """Area over the validation patients; trained unless a record of this training is there."""
    folder = fitting.config.out / "learning"
    apart = replace(
        fitting, config=fitting.config.model_copy(update={"out": folder}), partitions=(part,)
    )
    own = seen_by(apart, method, part)
    key = store.digest("learning", own.key(method, part))
    record = folder / method / f"{part.name}.json"
    known = _read(record)
    if known is not None and known["key"] == key:
        return float(known["auc"])
    bundle = fit_bundle(own, method, part, reporter=reporter)
    patients = own.patients(part, "val")
    scored = scores_of(own, bundle, patients)
    labels = np.array([patient.label for patient in patients])
    scores = np.array([scored[patient.patient_id] for patient in patients])
    area = (
        auc(labels, scores[:, 1]) if scores.shape[1] == 2 else macro_interval(labels, scores).value
    )
    store.write_json(record, {"key": key, "n": len(part.members("train")), "auc": area})
    # The figure is kept, the model is not: it is one of many, and none of them is to be used.
    model = Layout(folder).model(method, part.name)
    if model.is_dir():
        shutil.rmtree(model)
    return area


def _read(record: Path) -> dict[str, Any] | None:
    if not record.is_file():
        return None
    try:
        value: dict[str, Any] = store.read_json(record)
    except StoreError:
        return None
    return value


def _write(curves: dict[str, LearningCurve], layout: Layout) -> None:
    store.write_json(
        layout.out / "learning_curve.json",
        {
            "schema": store.SCHEMA_VERSION,
            "cohort": "val",
            "methods": {method: curve.as_json() for method, curve in curves.items()},
        },
    )
    printed = learning_table(curves)
    write_table(
        layout.tables / "learning_curve", printed.frame, notes=printed.notes,
        caption="AUC in the validation cohort by the number of training patients",
    )  # fmt: skip
    figure = Figure(figsize=(5.2, 4.0), layout="constrained")
    shown = {method_title(method): curve for method, curve in curves.items()}
    draw_learning_curves(figure.subplots(), shown)
    write_figure(layout.figures / "learning_curve", figure)
