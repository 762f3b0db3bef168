"""Leakage by column: clinical columns that hold the answer, by their name or by their values."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.types import Cohort, Partition

CHANCE = 1e-6
"""Columns that separate the classes without an error are refused below this probability."""
MOST_LEVELS = 50
"""Text with more values than this is a name, not a category: purity says nothing of it."""

Value = float | str | None


def _set(words: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", words))


_NODAL = _set(
    "node nodes nodal aln alns alnd lnm lnr lymph lymphnode lymphnodes sln slns slnb sentinel "
    "axilla axillary pn ypn nstage pnstage macrometastasis micrometastasis"
)
_SURGICAL = _set(
    "surgery surgical operation dissection mastectomy lumpectomy quadrantectomy alnd slnb"
)
_IMAGING = _set(
    "us usg ultrasound sonography sonographic mri mr ct pet suv imaging mammography mammographic "
    "palpable palpation cn preop preoperative"
)
"""What is known of the axilla before surgery may predict it."""
_COUNTED = _set(
    "status positive pos count number num ratio removed total met mets metastasis metastases "
    "involved stage"
)
"""`ln_status` is about nodes, `ln_ki67` is a logarithm."""
_STAGE = _set("n pn tnm ptnm ajcc overall anatomic pathological pathologic group")


def telling_columns(
    cohort: Cohort, partitions: tuple[Partition, ...], *, config: StudyConfig
) -> list[Problem]:
    """Clinical columns from which the label can be read off; the study is refused with them.

    By name: what counts or describes the nodes, and the kind of surgery, which is chosen by them.
    By value: what separates the classes of the training patients without one error where that has
    a probability below `CHANCE` if column and label have nothing to do with one another.
    """
    if not config.uses_clinical:
        return []
    trained = {p for partition in partitions for p in partition.members("train")}
    patients = [p for p in cohort.patients if p.patient_id in trained]
    labels = [p.label for p in patients]
    problems = []
    for name in config.clinical.names:
        cause = _by_name(name, config)
        if cause is None and _separates([p.clinical.get(name) for p in patients], labels):
            cause = (
                f"separates {' from '.join(cohort.classes)} without one error in all "
                f"{len(labels)} training patients, which no measurement does by chance"
            )
        if cause is not None:
            problems.append(
                Problem(
                    cause=f"the clinical column `{name}` gives the answer away: it {cause}.",
                    remedy="Take it out of `clinical:`. If it was known before surgery, give it a "
                    "name that says so, such as us_nodes or preoperative_...",
                    file=config.cohort,
                    code="telling-column",
                )
            )
    return problems


def _by_name(name: str, config: StudyConfig) -> str | None:
    """Why a name alone is enough; None where it is not, or where nodes are not the answer."""
    endpoint = config.endpoint
    if not isinstance(endpoint, str) and not _is_nodal(_words(endpoint.column)):
        return None
    words = _words(name)
    if _SURGICAL & set(words) and not {"before", "pre", "previous", "prior"} & set(words):
        return "is about the surgery, whose kind is chosen by the nodes"
    return "is made from the lymph nodes" if _is_nodal(words) else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())


def _is_nodal(words: Sequence[str]) -> bool:
    found = set(words)
    if found & _IMAGING:
        return False
    if found & _NODAL or ("ln" in found and (len(words) == 1 or found & _COUNTED)):
        return True
    # The T stage is the tumour's; the stage of the disease is made from N as well.
    return bool(found & {"tnm", "ptnm", "ajcc"}) or (
        "stage" in found and found - {"stage"} <= _STAGE
    )


def _separates(values: Sequence[Value], labels: Sequence[int]) -> bool:
    """Whether a column tells all labels, and would hardly do so if it had nothing to do with them.

    Three readings: by its values as categories, a missing one among them; by whether there is a
    value at all; by order, numbers only, over those who have one.
    """
    readings = [values, [None if value is None else "given" for value in values]]
    if any(_chance_of_levels(reading, labels) < CHANCE for reading in readings):
        return True
    numbers = [
        (float(value), label)
        for value, label in zip(values, labels, strict=True)
        if isinstance(value, int | float)
    ]
    return _chance_of_order(numbers) < CHANCE


def _chance_of_levels(values: Sequence[Value], labels: Sequence[int]) -> float:
    """Probability that every level is of one class by chance; 1 where they are not.

    Under random labels with k of n positive, all C(n, k) choices are equally likely, and the
    levels are pure in as many of them as there are sets of levels whose sizes sum to k. With more
    than two classes each is taken against the others; all must be pure, so the rarest bounds it.
    """
    sizes = Counter(values)
    if len(sizes) > MOST_LEVELS or len(set(zip(values, labels, strict=True))) > len(sizes):
        return 1.0
    counts = Counter(labels)
    return min(
        (
            _subsets(list(sizes.values()), k) / math.comb(len(labels), k)
            for k in counts.values()
            if len(counts) > 1
        ),
        default=1.0,
    )


def _subsets(sizes: Sequence[int], total: int) -> int:
    """How many sets of sizes sum to a total."""
    ways = [1] + [0] * total
    for size in sizes:
        for reached in range(total, size - 1, -1):
            ways[reached] += ways[reached - size]
    return ways[total]


def _chance_of_order(numbers: Sequence[tuple[float, int]]) -> float:
    """Probability that the classes' ranges do not overlap by chance; 1 where they do.

    Under random labels, each of the n! / (n_1! n_2! ...) arrangements is equally likely, and one
    for each order of the classes keeps them apart.
    """
    ranges: Mapping[int, list[float]] = {
        label: [v for v, other in numbers if other == label] for label in {x for _, x in numbers}
    }
    ordered = sorted((min(v), max(v)) for v in ranges.values())
    if len(ordered) < 2 or any(high >= low for (_, high), (low, _) in pairwise(ordered)):
        return 1.0
    arrangements = math.factorial(len(numbers))
    for members in ranges.values():
        arrangements //= math.factorial(len(members))
    return math.factorial(len(ordered)) / arrangements
