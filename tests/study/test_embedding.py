"""Which precision features are computed in, and that all of a study are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.errors import WeightsError
from axilla.core.progress import Silent
from axilla.features import computing
from axilla.study.chain import run
from axilla.study.layout import Layout

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

PEOPLE = [f"p{i}" for i in range(10)]


class Heard(Silent):
    """Remembers the notes, and what `embed` did."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.embedded = ""

    def say(self, text: str) -> None:
        self.notes.append(text)

    def done(self, step: str, detail: str) -> None:
        if step == "embed":
            self.embedded = detail


@pytest.fixture
def settings(
    plain_study: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A processor that multiplies bfloat16, and weights that it changes."""
    monkeypatch.setattr(computing, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(computing, "MIN_COSINE", 2.0)  # which none reaches
    rows = [f"{name},50,2,pos,pos,neg,{i % 2}" for i, name in enumerate(PEOPLE)]
    encoder = {"name": "alexnet", "weights": "none"}
    return plain_study(rows, PEOPLE) | {"encoder": encoder, "regions": "whole"}


def embed(settings: dict[str, Any]) -> tuple[Heard, set[str]]:
    """What was said, and the precisions of all slides."""
    config = StudyConfig.model_validate(settings)
    heard = Heard()
    run(config, until="embed", reporter=heard)
    layout = Layout(config.out)
    computed = [store.read_computing(layout.features("alexnet", p)) for p in PEOPLE]
    return heard, {text.partition(",")[0] for text in computed if text is not None}


def test_auto_falls_back_to_float32_once_and_for_all_slides(
    settings: dict[str, Any], work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, computed = embed(settings)
    assert computed == {"float32"}
    (note,) = [note for note in heard.notes if "bfloat16" in note]
    assert "so they are computed in float32" in note
    assert heard.embedded == "10 slides with alexnet in float32, 10 now"
    work.clear()
    heard, _ = embed(settings)
    assert heard.embedded == "10 slides with alexnet in float32, done before"
    assert not any("bfloat16" in note for note in heard.notes)
    assert work["extract_features"] == 0
    # One slide is lost. The others stay as they are, and it becomes like them.
    monkeypatch.setattr(computing, "MIN_COSINE", 0.5)
    layout = Layout(StudyConfig.model_validate(settings).out)
    layout.features("alexnet", "p3").unlink()
    heard, computed = embed(settings)
    assert heard.embedded == "10 slides with alexnet in float32, 1 now"
    assert computed == {"float32"}


def test_bfloat16_stays_where_it_changes_nothing(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "MIN_COSINE", 0.5)
    _, computed = embed(settings)
    assert computed == {"bfloat16"}


def test_bfloat16_that_was_asked_for_is_refused(settings: dict[str, Any]) -> None:
    settings["encoder"]["precision"] = "bfloat16"
    with pytest.raises(WeightsError, match=r"Set encoder\.precision: float32"):
        embed(settings)
