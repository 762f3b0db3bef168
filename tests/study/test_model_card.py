from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from axilla.core import store
from axilla.core.config import Clinical
from axilla.core.errors import StoreError
from axilla.core.types import Patient
from axilla.study.card_words import plain
from axilla.study.model_card import CARD, model_card, write_card
from axilla.study.model_records import validation_entry
from axilla.study.training_cohort import cohort_summary

RECORD: dict[str, Any] = {
    "method": "dl-cnb", "classes": ["N0", "N(+)"], "endpoint": "n0-vs-npos", "study": "Here",
    "architecture": {"kind": "dl-cnb", "features": 512},
    "members": [{"key": "k0", "seed": 8888}, {"key": "k1", "seed": 17}],
    "encoder": {"name": "vgg16_bn", "weights": "imagenet", "licence": "torchvision's"},
    "training": {"epochs": 20, "lr": 1e-4},
    "threshold": {"rule": "youden-validation", "value": 0.41, "validation_patients": 40},
    "versions": {"axilla": "0.1.0", "torch": "2.15.0"},
}  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    store.write_model(folder, store.StoredModel({"w": np.zeros(2)}, RECORD | changes), key="k1")
    return folder


def people(ages: list[float | None], ers: list[str | None]) -> list[Patient]:
    return [
        Patient(patient_id=f"p{i}", label=i % 2, slides=(), clinical={"age": age, "er": er})
        for i, (age, er) in enumerate(zip(ages, ers, strict=True))
    ]


CLINICAL = Clinical(numeric=("age", "not_read"), categorical=("er",))


def test_the_card_says_what_the_record_says(tmp_path: Path) -> None:
    labels = np.array([0] * 20 + [1] * 20)
    scores = np.linspace(0.1, 0.9, 40)
    validation = validation_entry(
        labels, np.stack([1 - scores, scores], axis=1), classes=("N0", "N(+)"), threshold=0.41
    )
    card = model_card(write(tmp_path, validation=validation))
    for said in (
        "an ensemble of 2 models", "Not a medical device", "Seeds: 8888, 17",
        "from a probability of 0.4100 on (chosen on 40 validation patients",
        "AUC: 1.000 (95% CI 0.912 to 1.000), 40 patients, 20 of them N(+)",
        "Sensitivity: 1.000 (95% CI 0.832 to 1.000)", "true negatives 16, false positives 4",
        "torchvision's", "axilla 0.1.0, torch 2.15.0",
    ):  # fmt: skip
        assert said in card


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"class_weights": "balanced"}, "class_weights: balanced"),
        ({"sampling": "balanced"}, "sampling: balanced"),
        (
            {"class_weights": "balanced", "sampling": "balanced"},
            "class_weights: balanced, sampling: balanced",
        ),
    ],
)
def test_balanced_classes_are_told_with_what_they_do(
    setting: dict[str, Any], named: str, tmp_path: Path
) -> None:
    training = {"epochs": 20, "patience": 5, "accumulate": 4, "class_weights": "none", **setting}
    card = model_card(write(tmp_path, training=training))
    for said in (
        f"({named}): a probability is that of a cohort with equally many patients of each class",
        "Where fewer than half of the patients are N(+) it is too high",
        "patience 5", "accumulate 4",
    ):  # fmt: skip
        assert said in card
    plainly = model_card(write(tmp_path / "plain", training={"class_weights": "none"}))
    assert "too high" not in plainly


def test_what_the_validation_patients_chose_is_what_they_chose(tmp_path: Path) -> None:
    scores = np.linspace(0.1, 0.9, 40)
    found = {
        "validation": validation_entry(
            np.array([0] * 20 + [1] * 20), np.stack([1 - scores, scores], axis=1),
            classes=("N0", "N(+)"), threshold=0.5,
        ),
        "patients": {"val": {"N0": 20, "N(+)": 20}},
    }  # fmt: skip
    fixed = {"rule": 0.5, "value": 0.5}
    epochs = [{"key": "k0", "seed": 1, "best_epoch": 3}]
    clinical = {"architecture": {"kind": "logistic"}, "training": None, "threshold": fixed}
    for name, changes, said in (
        ("both", {"members": epochs}, "These patients chose the epoch and the threshold:"),
        ("epoch", {"members": epochs, "threshold": fixed}, "These patients chose the epoch:"),
        ("none", clinical, "These patients chose nothing of the model"),
    ):
        assert said in model_card(write(tmp_path / name, **found, **changes))
    assert "set beforehand, not chosen on patients; rule 0.5" in model_card(tmp_path / "none")
    nobody = {
        "members": epochs, "patients": {"val": {"N0": 0, "N(+)": 0}}, "threshold": fixed,
        "training_cohort": {"patients": 40, "classes": {"N0": 20, "N(+)": 20}},
    }  # fmt: skip
    card = model_card(write(tmp_path / "nobody", **nobody))
    assert "Epoch kept, the last, as nobody validated: 4" in card
    assert "Validation patients: none" in card


@pytest.mark.parametrize(
    ("kind", "members", "said"),
    [
        ("logistic", 1, "A logistic regression, fitted once, without chance."),
        ("logistic", 3, "A logistic regression, fitted 3 times, once a fold, without chance."),
        ("boosting", 1, "Gradient boosted trees, fitted once; each tree saw a part of the"),
        ("boosting", 3, "Gradient boosted trees, fitted 3 times, once a fold; each tree saw a"),
    ],
)
def test_how_a_clinical_model_was_fitted(
    kind: str, members: int, said: str, tmp_path: Path
) -> None:
    told = [{"key": f"k{i}", "seed": 50 + i, "partition": f"fold{i}"} for i in range(members)]
    card = model_card(
        write(
            tmp_path, method="clinical", architecture={"kind": kind}, members=told, encoder=None,
            training=None, partition={"name": "folds" if members > 1 else "split", "seed": 50},
        )
    )  # fmt: skip
    assert said in card
    seeds = ", ".join(str(50 + i) for i in range(members))
    assert (f"Seeds: {seeds}" in card) == (kind == "boosting")
    assert ("without chance" in card) == (kind == "logistic")
    assert "Scanner" not in card


def test_the_encoders_precision_and_terms_are_told(tmp_path: Path) -> None:
    encoder = {"name": "vgg16_bn", "weights": "imagenet", "computing": "bfloat16, torch"}
    card = model_card(write(tmp_path / "a", encoder=encoder))
    assert "Features were computed in bfloat16, torch" in card
    assert "Licence of these weights, as far as known: not known" in card
    file = {"name": "vgg16_bn", "weights": "mine.pth", "weights_sha256": "0" * 64}
    card = model_card(write(tmp_path / "b", encoder=file))
    assert "The weights came from a file; its own terms hold." in card
    assert "Licence" not in card


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://e.org/a.png)",
        "a\n# Not a heading", "`code` **bold** _it_ ~~gone~~ | cell", "https://e.org www.e.org",
        "a@e.org", "&lt;b&gt;", "\\<b>", "tab\tand\x00null",
    ],
)  # fmt: skip
def test_text_from_data_stays_text(text: str, tmp_path: Path) -> None:
    """Read by a Markdown reader with links, tables and HTML on, it is words and nothing else."""
    card = model_card(write(tmp_path, study=text, classes=["N0", text]))
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for token in reader.parse(card):
        assert token.type in {
            "heading_open", "heading_close", "inline", "bullet_list_open", "bullet_list_close",
            "list_item_open", "list_item_close", "paragraph_open", "paragraph_close",
        }  # fmt: skip
        for part in token.children or ():
            assert part.type in {"text", "code_inline", "softbreak", "text_special"}
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert len(headings) == 9
    shown = "".join(c.content for t in reader.parse(f"- {plain(text)}") for c in t.children or ())
    assert shown == " ".join("".join(c if c.isprintable() else " " for c in text).split())


def test_very_long_text_is_cut() -> None:
    assert len(plain("x" * 10_000)) == 301


def test_a_card_is_written_once(tmp_path: Path) -> None:
    path = write_card(write(tmp_path))
    assert path == tmp_path / CARD
    before = path.stat().st_mtime_ns
    write_card(tmp_path)
    assert path.stat().st_mtime_ns == before


def test_no_card_of_a_damaged_record(tmp_path: Path) -> None:
    path = write(tmp_path) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"strange": 1}))
    with pytest.raises(StoreError, match="strange: Extra inputs"):
        write_card(tmp_path)


def test_groups_under_ten_are_not_told() -> None:
    ages = [40.0, 50.0, 60.0] * 10
    ers: list[str | None] = ["positive"] * 14 + ["negative"] * 12 + ["unknown"] * 4
    found = cohort_summary(people(ages, ers), classes=("N0", "N(+)"), config=CLINICAL)
    assert found["classes"] == {"N0": 15, "N(+)": 15}
    assert found["numbers"] == {
        "age": {
            "mean": 50.0, "sd": pytest.approx(np.std(ages, ddof=1)), "missing": 0, "low": 40.0,
            "high": 60.0,
        }
    }  # fmt: skip
    # The 4 are hidden, and the 12 too: from 30 and 14 the 4 would follow.
    assert found["categories"]["er"] == {
        "shares": {"negative": None, "positive": 14 / 30, "unknown": None}, "missing": 0,
    }  # fmt: skip


def test_few_values_and_few_missing_ones_are_not_told() -> None:
    found = cohort_summary(
        people([50.0] * 9 + [None] * 21, ["positive"] * 27 + [None] * 3),
        classes=("N0", "N(+)"), config=CLINICAL,
    )  # fmt: skip
    assert found["numbers"]["age"] == {
        "mean": None, "sd": None, "missing": 21, "low": None, "high": None,
    }  # fmt: skip
    assert found["categories"]["er"] == {"shares": {"positive": 1.0}, "missing": None}
