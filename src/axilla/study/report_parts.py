"""Further sections of the report: what a clinic asks beyond the paper's tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axilla.core import store
from axilla.core.methods import method_title
from axilla.report.contents import Anchor, Figure, Part, Table
from axilla.study.class_figures import undecided
from axilla.study.clinical_use import COHORT, Named, clinical_use_tables
from axilla.study.layout import Layout
from axilla.study.wording import Wording, wording_of

_POINTS = "operating_points"
_COHORT = "Cohort"


@dataclass(frozen=True, slots=True)
class Section:
    """A section, and the files of tables and figures that it shows where they were written."""

    anchor: str
    title: str
    after: Anchor
    paragraphs: tuple[str, ...]
    """Said only where there is a table or a figure; {tested} becomes what the patients are
    called, {counted} where small groups are told."""
    undecided: bool = False
    """Whether it says why there is no decision curve, where that is so."""
    elsewhere: tuple[str, ...] = ()
    """Said in their stead where the endpoint is not N0 against positive nodes."""
    operating_points: bool = False
    """Whether it says where operating points come from, where it has a table of them."""
    tables: tuple[str, ...] = ()
    """Names of files begin so."""
    figures: tuple[tuple[str, str], ...] = ()
    """Names of files begin so; and the caption."""


SECTIONS = (
    Section(
        anchor="cross-table",
        title="Model against truth",
        after="tables",
        paragraphs=(
            (
                "The model's call against the nodes' true state in {tested}, as STARD 2015 "
                "asks for it (doi:10.1136/bmj.h5527, item 23)."
            ),
        ),
        elsewhere=(
            (
                "The model's call against the reference standard in {tested}, as STARD 2015 "
                "asks for it (doi:10.1136/bmj.h5527, item 23)."
            ),
        ),
        tables=("cross_",),
    ),
    Section(
        anchor="calibration",
        title="Calibration",
        after="figures",
        paragraphs=(
            (
                "Whether of the patients with a predicted risk of 30% about 30% are positive. "
                "A slope under 1 says that predictions are too extreme, an intercept above 0 that "
                "risks are told too low. A model that is not calibrated may rank patients well, "
                "and its probabilities must still not be read as risks."
            ),
        ),
        tables=("calibration",),
        figures=(
            (
                "calibration_",
                (
                    "Observed against predicted shares in {tested}; points are groups of "
                    "patients with exact 95% intervals, the strip shows where the patients are."
                ),
            ),
        ),
    ),
    Section(
        anchor="decision",
        title="What a decision by the model would mean",
        after="figures",
        paragraphs=(
            (
                "A patient under the threshold would be spared the sentinel node biopsy; "
                "metastases among those spared are missed. These are counts on this cohort, at "
                "thresholds that nobody has tried on patients: no advice to operate or not."
            ),
        ),
        elsewhere=(
            (
                "The words are those of sentinel node biopsy, which is not what this endpoint "
                "decides: read 'biopsy' as whatever follows a positive call. These are counts on "
                "this cohort, at thresholds that nobody has tried on patients."
            ),
        ),
        undecided=True,
        operating_points=True,
        tables=(_POINTS, "decision", "predictive_values"),
        figures=(
            (
                "decision_curve",
                (
                    "Left: net benefit against biopsy for all and for none. Right: biopsies "
                    "avoided against positives missed, of 100 patients."
                ),
            ),
            (
                "precision_recall",
                "Precision (PPV) against recall (sensitivity), with the average precision.",
            ),
        ),
    ),
    Section(
        anchor="subgroups",
        title="Subgroups",
        after="figures",
        paragraphs=(
            (
                "A difference between subgroups that is not significant is no proof of being "
                "alike: the groups are small. In this section groups under 10 patients are not "
                "told{counted}."
            ),
        ),
        tables=("subgroups_",),
        figures=(
            ("subgroups_", "AUC by subgroup with 95% intervals; the line is that of everybody."),
        ),
    ),
    Section(
        anchor="training",
        title="Course of the training",
        after="methods",
        paragraphs=(
            (
                "The epoch that was kept is the best of many on the validation patients, so that "
                "its AUC there is optimistic. Where the loss of training goes on falling while "
                "that of validation rises, the model learns its training patients by heart."
            ),
        ),
        figures=(
            (
                "training_",
                (
                    "Left: loss by epoch. Right: AUC of the validation patients. A dot marks the "
                    "epoch that was kept."
                ),
            ),
        ),
    ),
)
"""In the order of the report."""


def further_parts(
    layout: Layout,
    metrics: Mapping[str, Any],
    *,
    classes: Sequence[str],
    of_nodes: bool,
    wording: Wording | None = None,
) -> tuple[Part, ...]:
    """Sections of what the last `evaluate` measured, with the figures that it wrote.

    Parameters
    ----------
    layout
        Where the study's files are.
    metrics
        What `evaluate` returned.
    classes
        Names of the endpoint's classes.
    of_nodes
        Whether the endpoint is N0 against positive nodes, on which a biopsy is decided; taken so
        as well where more classes have a decision curve.
    wording
        What the cohorts are called; None as a study calls its own.
    """
    told = wording or wording_of(metrics)
    why_not = tuple(undecided(metrics, COHORT))
    entries = [by[COHORT] for by in metrics["methods"].values() if COHORT in by]
    of_nodes = of_nodes or any("note" in e.get("decision_curve", {}) for e in entries)
    tables = list(clinical_use_tables(metrics, classes=classes, wording=told))
    written = _by_method(store.step_files(layout.out, "evaluate"), tuple(metrics["methods"]))
    made = (
        _part(section, tables, layout, written, of_nodes=of_nodes, wording=told, why_not=why_not)
        for section in SECTIONS
    )
    return tuple(part for part in made if part is not None)


def _by_method(written: Iterable[str], methods: Sequence[str]) -> list[str]:
    """The files by name, and of one kind in the order of the methods, as in every table."""

    def place(name: str) -> tuple[str, int]:
        start, _, method = name.rpartition("/")[2].partition(".")[0].partition("_")
        return (start, methods.index(method)) if method in methods else (name, -1)

    return sorted(written, key=place)


def _part(
    section: Section,
    tables: Sequence[Named],
    layout: Layout,
    written: Sequence[str],
    *,
    of_nodes: bool,
    wording: Wording,
    why_not: tuple[str, ...],
) -> Part | None:
    own = tuple(_table(named) for named in tables if named.stem.startswith(section.tables))
    figures = tuple(
        _figure(name, caption.format(tested=wording.tested), layout, written)
        for start, caption in section.figures
        for name in written
        if name.startswith(f"{layout.figures.name}/{start}") and name.endswith(".svg")
    )
    if not own and not figures:
        said = tuple(f"{reason[:1].upper()}{reason[1:]}." for reason in why_not)
        missing = Part(section.anchor, section.title, section.after, paragraphs=said)
        return missing if section.undecided and said else None
    said = section.paragraphs if of_nodes or not section.elsewhere else section.elsewhere
    told = tuple(
        paragraph.format(tested=wording.tested, counted=wording.groups_counted)
        for paragraph in said
    )
    if section.operating_points and any(table.csv_name.startswith(_POINTS) for table in own):
        told = (*told, wording.points_told)
    return Part(
        anchor=section.anchor,
        title=section.title,
        after=section.after,
        paragraphs=told,
        tables=own,
        figures=figures,
    )


def _table(named: Named) -> Table:
    """A table, of one cohort only with the cohort in its title in place of a column."""
    frame = named.table.frame
    cohorts = list(frame[_COHORT].unique()) if _COHORT in frame.columns else []
    one = len(cohorts) == 1
    crossed = named.stem.startswith("cross_")
    return Table(
        title=f"{named.caption}, in the {str(cohorts[0]).lower()} cohort" if one else named.caption,
        columns=tuple(map(str, frame.columns)),
        rows=tuple(tuple(map(str, row)) for row in frame.itertuples(index=False)),
        notes=named.table.notes,
        csv_name=f"{named.stem}.csv",
        # Its figures are named in their cells: `SENS 46.43 [35.47, 57.65]`.
        number_columns=tuple(range(1, len(frame.columns))) if crossed else None,
        download_only=(_COHORT,) if one else (),
    )


def _figure(name: str, caption: str, layout: Layout, written: Sequence[str]) -> Figure:
    numbers = name.removesuffix(".svg") + ".csv"
    stem = name.rpartition("/")[2].removesuffix(".svg")
    kind, _, method = stem.partition("_")
    whole = {"decision_curve": "Decision curve", "precision_recall": "Precision and recall"}
    return Figure(
        title=whole.get(stem) or f"{kind.capitalize()}, {method_title(method)}",
        caption=caption,
        image=(layout.out / name).read_bytes(),
        media_type="image/svg+xml",
        alt=caption,
        csv_name=numbers.rpartition("/")[2] if numbers in written else "",
        csv=(layout.out / numbers).read_text(encoding="utf-8") if numbers in written else "",
    )
