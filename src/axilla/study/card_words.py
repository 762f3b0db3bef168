"""How the card of a model is written: Markdown in which text from data stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from axilla.core.store.model_record import Interval

LONGEST = 300
"""Characters of the data's own text that are shown."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&#!$:@]|(?<=www)\.)", re.IGNORECASE)


def plain(text: object) -> str:
    """Text from data as Markdown that shows it and does nothing else: one line, no markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    short = line if len(line) <= LONGEST else line[:LONGEST] + "…"
    return _SPECIAL.sub(r"\\\1", short)


def section(title: str, lines: Iterable[str]) -> str:
    """A heading and its lines."""
    return f"## {title}\n\n" + "\n".join(lines)


def listed(settings: Mapping[str, Any]) -> str:
    """Names and values of settings; those that are not set or hold others are left out."""
    shown = {n: v for n, v in settings.items() if v is not None and not isinstance(v, dict | list)}
    return ", ".join(f"{plain(name)} {plain(value)}" for name, value in shown.items())


def figure_text(figure: Interval) -> str:
    """A figure with its interval, or why there is none."""
    if figure.value is None:
        return f"not defined ({plain(figure.reason or 'no reason given')})"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} (95% CI {figure.low:.3f} to {figure.high:.3f})"
