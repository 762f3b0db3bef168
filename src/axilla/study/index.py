"""The front page of a study with several endpoints: what each came to, and where its report is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from axilla import __version__
from axilla.core.cohort import is_generated
from axilla.core.config import StudyConfig
from axilla.core.progress import Reporter
from axilla.core.types import Cohort
from axilla.report.index import EndpointEntry, IndexPage, render_index
from axilla.study.layout import Layout, write_if_new
from axilla.study.plain import plain_sentences
from axilla.study.split_sentences import shared_sentences
from axilla.study.summary import highlights, outcome_sentences

if TYPE_CHECKING:
    from axilla.study.chain import StudyResult


def write_index(
    config: StudyConfig, cohort: Cohort, results: Mapping[str, StudyResult], *, reporter: Reporter
) -> Path:
    """Write `report.html` of the whole study and return its path."""
    page = IndexPage(
        name=config.name,
        generated=is_generated(config.cohort),
        enrolled=cohort.enrolled,
        entries=tuple(
            _entry(study, result, beside=config.out)
            for study, result in zip(config.studies, results.values(), strict=True)
        ),
        shared=shared_sentences(config),
        version=__version__,
    )
    path = Layout(config.out).report
    written = write_if_new(path, render_index(page))
    reporter.done("report", str(path) if written else "done before")
    return path


def _entry(study: StudyConfig, result: StudyResult, *, beside: Path) -> EndpointEntry:
    cohort = result.cohort
    labels = Counter(cohort.labels().values())
    reasons = {e.patient_id: e.reason for e in cohort.excluded}
    return EndpointEntry(
        title=" against ".join(cohort.classes),
        report=result.layout.report.relative_to(beside).parts,
        patients=len(cohort.patients),
        mix=", ".join(f"{labels[i]} {name}" for i, name in enumerate(cohort.classes)),
        excluded=tuple(Counter(reasons.values()).items()),
        plain=()
        if result.metrics is None
        else plain_sentences(study, cohort.classes, result.metrics),
        highlights=() if result.metrics is None else highlights(result.metrics),
        warnings=outcome_sentences(cohort),
    )
