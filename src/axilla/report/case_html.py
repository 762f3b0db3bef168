"""Lays the page of one new case out: two printed pages, one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from axilla.report.html import GENERATED_NOTICE, USE_NOTICE, environment
from axilla.report.tabular import lay_out

if TYPE_CHECKING:
    from axilla.report.contents import Table

GENERATED_MODEL = (
    "The model was trained on a generated cohort. It has seen no patient, and its number says "
    "nothing about a real one."
)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A probability on a line from 0 to 1."""

    point: float
    low: float | None
    """Of the range about it; None where there is none."""
    high: float | None
    threshold: float | None
    alt: str
    """The same in words, for who does not see it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What one part gave, as a bar to the left or to the right of nothing."""

    label: str
    value: str
    share: float
    """Of the longest bar, -1 to 1."""
    minor: bool = False
    """A part of a part."""


@dataclass(frozen=True, slots=True, eq=False)
class MapPicture:
    """A heat map with what its colours mean."""

    title: str
    jpeg: bytes
    alt: str
    width: int
    height: int
    bar_text: str
    """Length of the scale bar; empty where there is none."""
    bar_percent: float
    ramp: bytes
    """The colours from low to high, a PNG."""
    low: str
    high: str
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class PatchPicture:
    """A patch and its value."""

    jpeg: bytes
    alt: str
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class SlidePictures:
    """One slide."""

    slide_id: str
    detail: str
    maps: tuple[MapPicture, ...]
    patches: tuple[PatchPicture, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CasePage:
    """The whole page."""

    patient_id: str
    endpoint: str
    model: str
    """Which model was asked, in a line."""
    generated: bool
    """Whether the model was trained on a generated cohort."""
    severe: tuple[str, ...]
    """Why the number should not be believed: above it."""
    cautions: tuple[str, ...]
    number: str
    """The probability, or with several classes the likeliest class."""
    number_label: str
    number_detail: str
    gauge: Gauge | None
    sentences: tuple[str, ...]
    classes: Table | None
    """Probabilities, where there are more than two classes."""
    validation: Table | None
    """What the threshold meant on the validation patients."""
    bars: tuple[Bar, ...]
    bars_note: str
    slides: tuple[SlidePictures, ...]
    maps_note: str
    clinical: Table | None
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    written: str
    """Which version wrote it."""


def render_case(page: CasePage) -> str:
    """Lay out the page; all text is escaped, and the same contents give the same text.

    Returns
    -------
    str
        A whole HTML document, to be written as UTF-8.
    """

    def table(found: Table | None) -> object:
        return None if found is None else lay_out(found)

    return (
        environment()
        .get_template("case.html")
        .render(
            page=page,
            generated=page.generated,
            classes=table(page.classes),
            validation=table(page.validation),
            clinical=table(page.clinical),
            generated_notice=GENERATED_MODEL if page.generated else GENERATED_NOTICE,
            use_notice=USE_NOTICE,
        )
    )
