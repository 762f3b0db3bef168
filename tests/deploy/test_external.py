"""A study read for somebody's model: whose settings count, and which classes are the model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from axilla.core.config import NpvThreshold, StudyConfig
from axilla.core.errors import ConfigError
from axilla.deploy.external import external_study, parse_classes

if TYPE_CHECKING:
    from pathlib import Path

RECORD: dict[str, Any] = {
    "method": "clinical", "classes": ["N0", "N(+)"], "endpoint": "n0-vs-npos",
    "architecture": {"kind": "logistic"}, "encoder": None, "stain": None,
    "clinical": {
        "numeric": ["age", "tumor_size_cm"], "categorical": ["er", "pr", "her2"],
        "missing": "refuse", "unseen": "error", "units": ["years", "cm"],
    },
    "threshold": {"rule": {"npv": 0.9}, "value": 0.2},
}  # fmt: skip
IMAGES = RECORD | {
    "method": "dl-cnb", "clinical": None,
    "architecture": {"kind": "dl-cnb", "features": 512, "clinical": 0, "end_to_end": True},
    "encoder": {"name": "small_cnn", "weights": "none", "trainable": True},
    "patches": {"size": 64}, "bags": {"size": 10}, "aggregator": {"kind": "attention"},
    "training": {"seed": 5},
    "stain": None,
}  # fmt: skip


def study(tmp_path: Path, **changes: Any) -> StudyConfig:
    own = {"cohort": tmp_path / "t.csv", "endpoint": "n0-vs-npos", "methods": ["clinical"]}
    return StudyConfig.model_validate(own | changes)


def asked(
    config: StudyConfig, record: dict[str, Any], tmp_path: Path, **classes: str
) -> tuple[StudyConfig, StudyConfig, tuple[str, ...]]:
    return external_study(
        config, record, class_map=classes, encoder_weights=None, out=tmp_path / "out"
    )


def column(negative: str, positive: str) -> dict[str, Any]:
    return {"endpoint": {"column": "label", "negative": negative, "positive": positive}}


def test_classes_of_other_names_are_refused_unless_they_are_mapped(tmp_path: Path) -> None:
    config = study(tmp_path, **column("clear", "involved"))
    with pytest.raises(ConfigError, match=r"--class clear=N0 --class involved=N\(\+\)"):
        asked(config, RECORD, tmp_path)
    applied, reading, told = asked(config, RECORD, tmp_path, clear="N0", involved="N(+)")
    assert applied.endpoint == "n0-vs-npos"
    assert reading.endpoint == config.endpoint, "the table is read as it is"
    assert told == ("Classes of `label` were taken clear as N0, involved as N(+).",)
    with pytest.raises(ConfigError, match="does not turn into the model's classes"):
        asked(config, RECORD, tmp_path, clear="N(+)", involved="N0")


def test_the_same_classes_in_another_case_are_the_same_and_in_another_order_not(
    tmp_path: Path,
) -> None:
    same = asked(study(tmp_path, **column("n0", "n(+)")), RECORD, tmp_path)
    assert same[2] == ()
    with pytest.raises(ConfigError, match=r"another order.*classes: \[N0, N\(\+\)\]"):
        asked(study(tmp_path, **column("N(+)", "N0")), RECORD, tmp_path)


def test_another_endpoint_of_the_nodes_cannot_be_mapped(tmp_path: Path) -> None:
    config = study(tmp_path, endpoint="n0-vs-n3plus")
    with pytest.raises(ConfigError, match="Set `endpoint:` to what the model predicts"):
        asked(config, RECORD, tmp_path)
    with pytest.raises(ConfigError, match="endpoints made from the nodes cannot be renamed"):
        asked(config, RECORD, tmp_path, **{"N+(>=3)": "N(+)"})


def test_of_several_endpoints_the_models_is_taken(tmp_path: Path) -> None:
    several = {"cohort": tmp_path / "t.csv", "methods": ["clinical"]}
    config = StudyConfig.model_validate(several | {"endpoints": ["n0-vs-n3plus", "n0-vs-npos"]})
    applied, reading, _ = asked(config, RECORD, tmp_path)
    assert (applied.endpoint, reading.endpoints) == ("n0-vs-npos", ())


def test_the_models_settings_count_and_what_the_study_says_otherwise_is_told(
    tmp_path: Path,
) -> None:
    config = study(
        tmp_path, slides=tmp_path, methods=["dl-cnb"], patches={"size": 128, "max_blank": 0.3},
        stain={"method": "macenko"}, bags={"size": 10}, threshold=0.5,
        split={"seed": 1}, training={"epochs": 3},
    )  # fmt: skip
    applied, _, told = asked(config, IMAGES, tmp_path)
    assert (applied.patches.size, applied.stain, applied.training.seed) == (64, None, 5)
    assert applied.threshold == NpvThreshold(npv=0.9)
    assert [sentence.partition(":")[0] for sentence in told] == [
        "patches.size", "stain", "threshold", "split, training",
    ]  # fmt: skip
    assert told[0] == "patches.size: the study says 128; the model's is used (64)."
    assert told[1].endswith("the model's is used (none).")


def test_of_clinical_columns_ranges_are_the_studys_and_the_policy_the_models(
    tmp_path: Path,
) -> None:
    clinical = {
        "numeric": [{"name": "age", "min": 18}], "categorical": ["er"], "missing": "impute",
    }  # fmt: skip
    applied, _, told = asked(study(tmp_path, clinical=clinical), RECORD, tmp_path)
    assert applied.clinical.names == ("age", "tumor_size_cm", "er", "pr", "her2")
    assert applied.clinical.numeric[0].low == 18
    assert applied.clinical.missing == "refuse"
    assert told == (
        "clinical: the study names age, er; the model reads age, tumor_size_cm, er, pr, her2.",
        "clinical.missing: the study says impute; the model's is used (refuse).",
    )


def test_pairs_of_classes_on_the_command_line() -> None:
    assert parse_classes(["clear=N0", "involved = N(+)"]) == {"clear": "N0", "involved": "N(+)"}
    for wrong in (["clear"], ["=N0"], ["a=N0", "b=N0"], ["a=N0", "a=N(+)"]):
        with pytest.raises(ConfigError):
            parse_classes(wrong)
