"""Outlines of several classes that all count as tumour, told before any slide is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from axilla.core.config import StudyConfig
from axilla.core.errors import Problem
from axilla.core.naming import first_few

_SHOWN = 10


def several_classes(of_slides: Iterable[tuple[str, ...]], *, config: StudyConfig) -> Problem | None:
    """What to note where nobody chose among the classes of the outlines.

    Parameters
    ----------
    of_slides
        Of each slide, the classes of the outlines that count as tumour, each once.
    """
    if config.kept_classes is not None:
        return None
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for classes in of_slides:
        for folded, name in {" ".join(n.casefold().split()): n for n in classes}.items():
            counts[folded] += 1
            shown.setdefault(folded, name)
    if len(counts) < 2:
        return None
    common = counts.most_common()
    told = first_few([f"{shown[name][:40]} ({count:,})" for name, count in common], most=_SHOWN)
    return Problem(
        cause=f"outlines of several classes count as tumour alike; slides by class: {told}.",
        remedy="Where some of them are no tumour, name those that are: "
        "`annotations: {folder: ..., keep: [...]}`.",
        file=config.annotation_folder,
        fatal=False,
        code="annotation",
    )
