"""What a report is made of: plain values, filled by the study, laid out by `html.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Anchor = Literal[
    "summary", "warnings", "patients", "tables", "published", "figures", "cases", "methods",
    "settings",
]  # fmt: skip
"""The sections that every report has where there is something in them, in their order."""


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One box of the flow diagram: how many patients, and who left before it and why."""

    title: str
    patients: int
    slides: int | None = None
    patches: int | None = None
    excluded: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(reason, patient ids) of everybody who left on the way to this box."""
    branches: tuple[tuple[str, int, str], ...] = ()
    """(cohort title, patients, detail such as '79 of 210 N(+)') where the flow divides."""
    lost: tuple[str, ...] = ()
    """What else was left out here, of patients who stayed: patches, and slides by name."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text cells; `number_columns` are set flush right.

    A row with nothing but a first cell (and perhaps a last one, a p value) heads a group; rows
    whose first cell is that of the row above, or empty, share one cell. A first cell that begins
    with blanks is indented.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    csv_name: str = ""
    """Name of the table's download inside the file; empty where none is offered."""
    number_columns: tuple[int, ...] | None = None
    """Columns of numbers, from 0; None finds them by their cells."""
    download_only: tuple[str, ...] = ()
    """Columns that only the download has: those of which the title says what every row would; not
    together with `number_columns`."""
    listed: bool = False
    """Cells are sentences: on a phone each row becomes a list of its cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A picture, its caption, and its numbers."""

    title: str
    caption: str
    image: bytes
    media_type: str
    """image/svg+xml or image/png or image/jpeg."""
    alt: str
    csv_name: str = ""
    csv: str = ""
    """The figure's numbers, offered as a download inside the file; empty where there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseView:
    """One slide: what the model made of it."""

    patient_id: str
    slide_id: str
    truth: str
    score: str
    maps: tuple[Figure, ...]
    """Heat maps over the slide, side by side where there is room."""
    galleries: tuple[Figure, ...] = ()
    """Single patches; the first to be left out where a report would grow too large."""
    features: Figure | None = None
    """The patient's nucleus features, where a method looks at them."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A section of its own: sentences, then tables, then figures.

    This is how a report grows: what a study measures beyond the paper comes as a part, and the
    layout knows nothing of it.
    """

    anchor: str
    """Of the link to it: a word of letters and dashes that no other section has."""
    title: str
    after: Anchor
    """The section that it follows, also where the report has none of that name."""
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    folded: bool = False
    """Tables are opened by the reader, and when the report is printed."""
    numbered: bool = True
    """Tables and figures go on with the report's numbers; an appendix has none."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """One figure that answers the study's question, set large beneath the summary."""

    label: str
    """What it is, such as 'AUC in the independent test cohort'."""
    value: str
    detail: str = ""
    """Interval and method, such as '95% CI 0.758 to 0.865 · DL-CNB+C model'."""


@dataclass(frozen=True, slots=True, eq=False)
class ReportContents:
    """A whole report."""

    name: str
    endpoint: str
    generated: bool
    """True where the cohort is generated: said at the top and on every page."""
    summary: tuple[str, ...]
    """Plain sentences for the reader in a hurry."""
    warnings: tuple[str, ...]
    flow: tuple[FlowStep, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    cases: tuple[CaseView, ...]
    published: Table | None
    """Figures from the literature beside ours."""
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    highlights: tuple[Highlight, ...] = ()
    plain: tuple[str, ...] = ()
    """The summary in plain language, before `summary`."""
    plain_table: Table | None = None
    """Its figures."""
    kind: str = "study report"
    """What the page is, above its title."""
    cases_title: str = "Cases"
    cases_intro: tuple[str, ...] = ()
    """How to read the cases, a paragraph each."""
    parts: tuple[Part, ...] = ()
    """Further sections; those after the same section stand in this order."""
    methods: tuple[str, ...] = ()
    """How it was done, a paragraph each, as a journal's reviewer asks."""
    created: str = ""
    """When the study was run, as it is printed; not read from the clock, so that the same study
    gives the same file."""
