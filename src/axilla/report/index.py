"""Lays the front page of a study with several endpoints out: one row an endpoint, with its link.

The page needs nothing beside itself but the reports that it links to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from axilla.report.html import GENERATED_NOTICE, USE_NOTICE, environment

if TYPE_CHECKING:
    from axilla.report.contents import Highlight


@dataclass(frozen=True, slots=True)
class EndpointEntry:
    """One endpoint."""

    title: str
    """Such as 'N0 against N(+)'."""
    report: tuple[str, ...]
    """The parts of the report's path, relative to the page."""
    patients: int
    mix: str
    """Patients by class."""
    excluded: tuple[tuple[str, int], ...]
    """(reason, patients) of everybody in the table who is not part of it."""
    highlights: tuple[Highlight, ...] = ()
    summary: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    """In plain language, before `summary`."""
    warnings: tuple[str, ...] = ()
    """For whom the figures do not hold."""

    @property
    def address(self) -> str:
        """The report as a relative address."""
        # A first part such as `a:b` would be read as a protocol.
        return "./" + "/".join(map(quote, self.report))


@dataclass(frozen=True, slots=True)
class IndexPage:
    """The whole page."""

    name: str
    generated: bool
    enrolled: int
    entries: tuple[EndpointEntry, ...]
    shared: tuple[str, ...] = ()
    """What the endpoints have in common, a sentence each."""
    version: str = ""


def render_index(page: IndexPage) -> str:
    """Lay out the page; all text is escaped, and the same contents give the same text.

    Returns
    -------
    A whole HTML document, to be written as UTF-8 into the folder from which the links go out.
    """
    return (
        environment()
        .get_template("index.html")
        .render(
            page=page,
            generated=page.generated,
            generated_notice=GENERATED_NOTICE,
            use_notice=USE_NOTICE,
        )
    )
