"""Endpoints, splits and thresholds in the study file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from axilla.core.config import (
    ClassesEndpoint,
    ColumnEndpoint,
    ColumnSplit,
    FoldSplit,
    LeaveOutSplit,
    NpvThreshold,
    RandomSplit,
    SensitivityThreshold,
    StudyConfig,
    endpoint_name,
    parse_threshold,
)
from axilla.core.errors import ConfigError


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"seed": 1}, RandomSplit(seed=1, test=0.2, validation=0.25)),
        ({"column": "split"}, ColumnSplit(column="split")),
        (
            {"folds": 5, "repeats": 5, "group": "site"},
            FoldSplit(folds=5, repeats=5, group="site", validation=0.25, seed=8888),
        ),
    ],
)
def test_splits(load_with, split, expected):
    assert load_with(split=split).split == expected


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ("youden-per-cohort", "youden-per-cohort"),
        (0.5, 0.5),
        ("5e-1", 0.5),  # how YAML reads an unquoted 5e-1
        ({"sensitivity": 0.95}, SensitivityThreshold(sensitivity=0.95)),
        ({"npv": 0.9}, NpvThreshold(npv=0.9)),
    ],
)
def test_thresholds(load_with, threshold, expected):
    config = load_with(threshold=threshold)
    assert config.threshold == expected
    assert config.needs_validation == isinstance(expected, SensitivityThreshold | NpvThreshold)
    # What a record holds reads back as the same.
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config
    assert parse_threshold(str(threshold)) == expected


@pytest.mark.parametrize(
    "endpoint", ["n1-2-vs-n3plus", "n0-vs-n1-2-vs-n3plus", "n0-vs-n1-2", "n0-vs-n3plus"]
)
def test_node_endpoints(load_with, endpoint):
    assert load_with(endpoint=endpoint).endpoint == endpoint


def test_column_endpoint(load_with):
    config = load_with(endpoint={"column": "label", "negative": "benign", "positive": "malignant"})
    assert config.endpoint == ColumnEndpoint(
        column="label", negative="benign", positive="malignant"
    )
    numbers = load_with(endpoint={"column": "label", "negative": 0, "positive": 1})
    assert numbers.endpoint == ColumnEndpoint(column="label", negative="0", positive="1")


SEVERAL = {"cohort": "cohort.csv", "slides": "slides"}


def test_several_endpoints_are_one_study_each(load):
    grade = {"column": "grade", "classes": ["g1", "g2", "g3"]}
    settings = SEVERAL | {"endpoints": ["n0-vs-npos", "n1-2-vs-n3plus", grade], "out": "/o"}
    config = load(yaml.safe_dump(settings))
    assert config.endpoint == "n0-vs-npos"
    studies = config.studies
    assert [study.endpoint for study in studies] == [
        "n0-vs-npos", "n1-2-vs-n3plus", ClassesEndpoint(column="grade", classes=("g1", "g2", "g3")),
    ]  # fmt: skip
    assert [study.out for study in studies] == [
        Path("/o/n0-vs-npos"), Path("/o/n1-2-vs-n3plus"), Path("/o/grade-g1-vs-g2-vs-g3"),
    ]  # fmt: skip
    assert all(study.studies == (study,) for study in studies)
    # What was given is written again, and read as the same.
    assert "endpoint" not in config.model_dump()
    assert "endpoints" not in studies[0].model_dump()
    assert StudyConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("endpoints", "sentence"),
    [
        ([], "endpoints: names none; name one or more, or set endpoint."),
        ("n0-vs-npos", "endpoints: is a list, such as [n0-vs-npos, n1-2-vs-n3plus]."),
        (["n0-vs-npos", "n0-vs-npos"], "endpoints: an endpoint is named twice."),
        (
            ["n0-vs-npos", {"column": "a", "negatve": "x", "positive": "y"}],
            "unknown key `endpoints.1.negatve` (did you mean `negative`?).",
        ),
    ],
)
def test_endpoints_that_cannot_be(load, endpoints, sentence):
    with pytest.raises(ConfigError) as caught:
        load(yaml.safe_dump(SEVERAL | {"endpoints": endpoints}))
    assert caught.value.problem.cause == sentence


def test_what_a_column_is_called_stays_in_the_studys_folder():
    names = [
        endpoint_name(ClassesEndpoint(column=column, classes=classes))
        for column, classes in (
            ("../../etc", ("a", "b")), ("etc", ("a", "b")), ("x" * 300, ("a", "b")),
            ("..", ("/", "\\")), ("Größe", ("klein", "groß")), ("Gräße", ("klein", "groß")),
        )
    ]  # fmt: skip
    assert names[1] == "etc-a-vs-b"
    assert len(set(names)) == len(names)
    for name in names:
        assert Path(name).name == name
        assert not name.startswith(".")
        assert len(name) < 80


def test_published_figures_of_several_endpoints_say_of_which(load):
    figure = {"source": "x", "method": "clinical", "auc": 0.7}
    settings = SEVERAL | {"endpoints": ["n0-vs-npos", "n0-vs-n1-2"], "published": [figure]}
    with pytest.raises(ConfigError, match="does not say of which of the endpoints"):
        load(yaml.safe_dump(settings))
    settings["published"] = [figure | {"endpoint": "n0-vs-n1-2"}]
    studies = load(yaml.safe_dump(settings)).studies
    assert [len(study.published) for study in studies] == [0, 1]


def test_leaving_a_group_out(load_with):
    config = load_with(split={"leave_out": "site"})
    assert config.split == LeaveOutSplit(leave_out="site")
    assert config.crossed
    assert config.group_column == "site"
    with pytest.raises(ConfigError, match=r"`split.repeats` does not go with the other keys"):
        load_with(split={"leave_out": "site", "repeats": 2})
