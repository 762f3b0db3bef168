"""How the patients were divided, in sentences for the report."""

from __future__ import annotations

from collections.abc import Sequence

from axilla.core.config import ColumnSplit, FoldSplit, LeaveOutSplit, RandomSplit, StudyConfig
from axilla.core.types import Partition


def split_sentences(config: StudyConfig, partitions: Sequence[Partition]) -> tuple[str, ...]:
    """How the folds were made; nothing of a single split, which the flow diagram shows."""
    split = config.split
    if isinstance(split, ColumnSplit | RandomSplit):
        return ()
    if isinstance(split, LeaveOutSplit):
        made = (
            f"Leave-one-out by `{split.leave_out}`: each of {len(partitions)} folds tests all "
            "patients of one group with models that saw none of them."
        )
    elif split.group is not None:
        made = (
            f"{split.folds}-fold cross-validation by `{split.group}`, {_repeats(split)}: whole "
            "groups are tested, the classes' shares as even as the groups allow."
        )
    else:
        made = f"{split.folds}-fold cross-validation, {_repeats(split)}, stratified by outcome."
    pooled = (
        "Everybody is tested once a repeat; out-of-fold predictions are pooled, and each fold's "
        "figures are given with their spread."
    )
    return (f"{made} {_validation(config, partitions)} {pooled}",)


def folds_title(config: StudyConfig, partitions: Sequence[Partition]) -> str:
    """What the flow diagram calls the folds."""
    folds = len({partition.fold for partition in partitions})
    if isinstance(config.split, LeaveOutSplit):
        return f"One of {folds} groups of {config.split.leave_out} left out at a time"
    repeats = len({partition.repeat for partition in partitions})
    return f"{folds}-fold cross-validation, {repeats} repeat{'s' if repeats > 1 else ''}"


def warned_sentences(config: StudyConfig, partitions: Sequence[Partition]) -> tuple[str, ...]:
    """That validation patients come from training groups, where they do."""
    within = sum(partition.within_groups for partition in partitions)
    if not within:
        return ()
    sentence = (
        f"In {within} of {len(partitions)} folds the groups of `{config.group_column}` that were "
        "left could not be parted by whole groups with every class on both sides: there the early "
        "choice and the threshold were made on patients of the training groups, and may look "
        "better than they are in a new group."
    )
    return (sentence,)


def shared_sentences(config: StudyConfig) -> tuple[str, ...]:
    """What the endpoints of a study have in common."""
    nodes = any(isinstance(endpoint, str) for endpoint in config.endpoints)
    if isinstance(config.split, ColumnSplit):
        way = f"it is that of the column `{config.split.column}`"
    elif config.group_column is not None:
        way = f"its folds keep the groups of `{config.group_column}` whole"
    elif nodes:
        way = "it is stratified by node stage, also for endpoints that are not made from the nodes"
    else:
        way = "it is stratified by the classes of the first endpoint"
    images = " The slides were cut, and their features computed, once for all."
    return (
        "All endpoints share one split of the patients"
        + (", fold by fold. " if config.crossed else ": who is tested in one trains in none. ")
        + f"{way[:1].upper() + way[1:]}."
        + (images if config.uses_slides else ""),
        "A patient who is not part of an endpoint is counted there as excluded.",
    )


def _repeats(split: FoldSplit) -> str:
    return "once" if split.repeats == 1 else f"repeated {split.repeats} times"


def _validation(config: StudyConfig, partitions: Sequence[Partition]) -> str:
    share = 0.0 if isinstance(config.split, ColumnSplit) else config.split.validation
    if share == 0:
        return "Nobody validates: training goes to its last epoch."
    if config.group_column is None:
        return f"In each fold {share:.0%} of the patients who are not tested validate."
    within = sum(partition.within_groups for partition in partitions)
    whole = f"In each fold whole groups, near {share:.0%} of the other patients, validate"
    if within == len(partitions):
        return (
            f"In each fold {share:.0%} of the patients who are not tested validate; they are of "
            "the training groups, of which too few are left to set whole ones aside."
        )
    if within:
        return f"{whole}; in {within} folds too few groups were left, and single patients do."
    return f"{whole}."
