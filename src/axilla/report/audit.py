"""Lays the pictures of an audit out as one page beside them: a contact sheet.

The pictures stay files, for there may be thousands; the page asks for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True, slots=True)
class AuditCard:
    """One slide."""

    slide_id: str
    patient_id: str
    picture: str | None
    """The picture's file name, beside the page; None where the slide cannot be opened."""
    caption: str
    remarks: tuple[str, ...] = ()
    """What somebody should look at."""

    @property
    def address(self) -> str:
        """The picture as a relative address."""
        return quote(self.picture or "")


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A whole audit."""

    name: str
    generated: bool
    cards: tuple[AuditCard, ...]
    missing: tuple[tuple[str, str], ...] = ()
    """(patient, reason) of who has no slide to draw."""
    kept_colour: str = ""
    dropped_colour: str = ""


def render_audit(page: AuditPage) -> str:
    """Lay out the page; slides with remarks come first, otherwise the order stays.

    Returns
    -------
    A whole HTML document, to be written as UTF-8 into the folder of the pictures.
    """
    environment = Environment(
        loader=PackageLoader("axilla.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = sorted(page.cards, key=lambda card: not card.remarks)
    remarked = sum(bool(card.remarks) for card in cards)
    template = environment.get_template("audit.html")
    return template.render(page=page, cards=cards, remarked=remarked)
