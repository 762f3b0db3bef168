"""Studies that are used together: no patient may train in one and be tested in another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from axilla.core.cohort_union import read_everybody
from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.split import partitions_of
from axilla.core.split_clash import clash_problems


def check_mix(configs: Sequence[StudyConfig]) -> tuple[Problem, ...]:
    """Say where the splits of studies contradict each other, patients told by their ids.

    Cross-validation tests everybody, and is left out.

    Raises
    ------
    AxillaError
        The cohort of a study cannot be read or split.
    """
    splits = []
    for number, config in enumerate(configs, start=1):
        if not config.crossed:
            (partition,) = partitions_of(read_everybody(config).cohort, config=config)
            splits.append((f"study {number} ({config.name})", dict(partition.cohort_of)))
    return tuple(
        problem
        for (a, first), (b, second) in combinations(splits, 2)
        for problem in clash_problems(first, second, names=(a, b))
    )
