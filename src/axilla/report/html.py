"""Lays a study's report out as one HTML file that needs nothing beside itself.

No request leaves the file: style and script stand within, pictures and downloads are `data:`
addresses, and its own content security policy forbids the rest. SVG comes as a picture, so that
no script inside it can run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from axilla.report.media import aspect_ratio, csv_name, csv_uri, data_uri
from axilla.report.tabular import TableView, lay_out

if TYPE_CHECKING:
    from axilla.report.contents import Figure, FlowStep, ReportContents, Table

GENERATED_NOTICE = (
    "This cohort is generated. It contains no patients; "
    "no figure here says anything about real ones."
)
USE_NOTICE = (
    "For research use only. Not a medical device; not for decisions on diagnosis or treatment."
)

_LEADING_SHARE = re.compile(r"\s*(?P<number>[01]?\.\d+)(?![\d.eE]|\s*%)")


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """One part of the report, as the table of contents lists it."""

    anchor: str
    title: str
    own: bool = True
    """One of the report's own; False for a `Part`, whose layout is the same for all."""
    paragraphs: tuple[str, ...] = ()
    tables: tuple[tuple[TableView, int], ...] = ()
    """Each with its number; 0 where it has none."""
    figures: tuple[tuple[Figure, int], ...] = ()
    folded: bool = False


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """The settings under one key of the study file."""

    title: str
    entries: tuple[tuple[str, str], ...]
    """(dotted key, value) each."""


def render_report(contents: ReportContents) -> str:
    """Lay out a report.

    Parts without contents are left out. The same contents give the same text.

    Parameters
    ----------
    contents : ReportContents
        Plain values, filled by the study. All text is escaped.

    Returns
    -------
    str
        A whole HTML document, to be written as UTF-8.

    Examples
    --------
    >>> page = render_report(contents)  # doctest: +SKIP
    >>> (study.out / "report.html").write_text(page, encoding="utf-8")  # doctest: +SKIP
    """
    script = files("axilla.report").joinpath("templates/print.js").read_text(encoding="utf-8")
    plain = contents.plain_table
    return (
        environment()
        .get_template("report.html")
        .render(
            report=contents,
            generated=contents.generated,
            sections=_sections(contents),
            plain_table=None if plain is None else lay_out(plain),
            published=None if contents.published is None else lay_out(contents.published),
            settings=_setting_groups(contents.settings),
            seeds=_seeds(contents.settings),
            script=script,
            script_digest=_digest(script),
            generated_notice=GENERATED_NOTICE,
            use_notice=USE_NOTICE,
        )
    )


@cache
def environment() -> Environment:
    """Make the one environment of all pages: every text that goes in is escaped."""
    made = Environment(
        loader=PackageLoader("axilla.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        data_uri=data_uri,
        csv_uri=csv_uri,
        csv_name=csv_name,
        count=_counted,
        flow_size=_flow_size,
        share=_share,
        shape=_shape,
    )
    return made


def _digest(script: str) -> str:
    """Name the one script that may run, as a content security policy wants it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _sections(contents: ReportContents) -> list[Section]:
    """The report's sections that have contents, further parts in their places, all numbered."""
    own: list[tuple[bool, str, str]] = [
        (
            bool(contents.summary or contents.highlights or contents.plain),
            "summary",
            "Summary",
        ),
        (bool(contents.warnings), "warnings", "Please note"),
        (bool(contents.flow), "patients", "Patients"),
        (bool(contents.tables), "tables", "Tables"),
        (contents.published is not None, "published", "Beside published figures"),
        (bool(contents.figures), "figures", "Figures"),
        (bool(contents.cases), "cases", contents.cases_title),
        (bool(contents.methods), "methods", "Methods"),
        (bool(contents.settings or contents.versions), "settings", "Settings and versions"),
    ]
    tables, figures = count(1), count(1)
    found: list[Section] = []
    for present, anchor, title in own:
        if present:
            found.append(
                Section(
                    anchor,
                    title,
                    tables=_numbered(contents.tables if anchor == "tables" else (), tables),
                    figures=tuple(
                        zip(contents.figures if anchor == "figures" else (), figures, strict=False)
                    ),
                )
            )
        found += [
            Section(
                part.anchor,
                part.title,
                own=False,
                paragraphs=part.paragraphs,
                tables=_numbered(part.tables, tables if part.numbered else repeat(0)),
                figures=tuple(
                    zip(part.figures, figures if part.numbered else repeat(0), strict=False)
                ),
                folded=part.folded,
            )
            for part in contents.parts
            if part.after == anchor
        ]
    return found


def _numbered(
    tables: tuple[Table, ...], numbers: Iterator[int]
) -> tuple[tuple[TableView, int], ...]:
    return tuple(zip(map(lay_out, tables), numbers, strict=False))


def _counted(number: int, noun: str, plural: str = "") -> str:
    """Write '1 patient' and '1,058 patients'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _flow_size(step: FlowStep) -> str:
    """Write what a box of the flow holds beside patients: '1,058 slides · 76,578 patches'."""
    sizes = []
    if step.slides is not None:
        sizes.append(_counted(step.slides, "slide"))
    if step.patches is not None:
        sizes.append(_counted(step.patches, "patch", "patches"))
    return " · ".join(sizes)


def _share(text: str) -> float | None:
    """Read the probability that a case's score begins with; None where it begins otherwise."""
    found = _LEADING_SHARE.match(text)
    if found is None:
        return None
    number = float(found["number"])
    return number if number <= 1 else None


def _shape(figure: Figure) -> str:
    """Name the room a picture needs in the grid."""
    ratio = aspect_ratio(figure)
    if ratio is None:
        return "normal"
    return "wide" if ratio > 1.6 else "tall" if ratio < 0.75 else "normal"


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        elif value and isinstance(value, list | tuple) and isinstance(value[0], Mapping):
            for number, item in enumerate(value, start=1):
                told = (f"{name}: {_plain(own)}" for name, own in item.items() if own is not None)
                yield f"{prefix}{key} {number}", ", ".join(told)
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> str:
    """Write a setting as the study file would."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{}" if not value else str(dict(value))
    return str(value)


def _setting_groups(settings: Mapping[str, Any]) -> list[SettingGroup]:
    """Give every key with keys of its own a group; the rest stand together at the top."""
    plain = {k: v for k, v in settings.items() if not (isinstance(v, Mapping) and v)}
    groups = [SettingGroup("Study", tuple(_flatten(plain)))] if plain else []
    groups.extend(
        SettingGroup(str(key), tuple(_flatten(value)))
        for key, value in settings.items()
        if key not in plain
    )
    return groups


def _seeds(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(k, v) for k, v in _flatten(settings) if k.rpartition(".")[2].endswith("seed")]
