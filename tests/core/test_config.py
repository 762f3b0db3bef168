"""The study file as a whole: what its keys may be, and what is said of those that may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from axilla.core.config import (
    RandomSplit,
    Restarts,
    StudyConfig,
)
from axilla.core.errors import ConfigError

DESIGN = """\
name: my-hospital
cohort: cohort.csv             # .csv, .xlsx or .parquet; one row a patient, or a slide (patient_id, slide_id); `nodes` (count) or `aln_status`
slides: slides/                # <slide_id>.<ext>; or a `slide` column
annotations: annotations/      # <slide_id>.json | .xml | .geojson; optional
regions: auto                  # annotation where there is one, else tissue | annotation | tissue | whole (cut region images)
endpoint: n0-vs-npos           # n1-2-vs-n3plus | n0-vs-n1-2-vs-n3plus | n0-vs-n1-2 | n0-vs-n3plus | {column: label, negative: benign, positive: malignant}
split: {seed: 8888, test: 0.2, validation: 0.25}   # or {column: split} (train | val | test) | {folds: 5, repeats: 5, group: site}
patches: {size: 256, max_blank: 0.3, white_level: 255, mpp: null, edge: pad}
bags: {size: 10, redraw: false}
encoder: {name: vgg16_bn, weights: imagenet, trainable: false}   # weights: imagenet | none | a file
methods: [clinical, dl-cnb, dl-cnb+c]
clinical: {numeric: [age, tumor_size_cm], categorical: [er, pr, her2], missing: refuse}
training: {epochs: 200, optimizer: adam, lr: 1.0e-4, weight_decay: 1.0e-3, restarts: {t0: 20, mult: 2}, seed: 8888}
threshold: youden-validation   # youden-per-cohort | 0.5 | {sensitivity: 0.95} | {npv: 0.9}
out: out/
"""  # noqa: E501 - as DESIGN.md has it


def test_the_study_file_of_the_design_loads_as_written(load, tmp_path: Path):
    config = load(DESIGN)
    assert config.name == "my-hospital"
    assert config.cohort == tmp_path / "cohort.csv"
    assert config.slides == tmp_path / "slides"
    assert config.annotations == tmp_path / "annotations"
    assert config.out == tmp_path / "out"
    assert config.split == RandomSplit(seed=8888, test=0.2, validation=0.25)
    assert config.training.lr == 1e-4
    assert config.training.restarts == Restarts(t0=20, mult=2)
    assert config.threshold == "youden-validation"


def test_the_defaults_are_what_the_design_writes_out(load, load_with, tmp_path: Path):
    written = load(DESIGN).model_dump()
    default = load_with().model_dump()
    for key in ("name", "annotations"):
        assert written.pop(key) != default.pop(key)
    assert default == written
    assert default["out"] == tmp_path / "out"


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"cohrt": 1}, "unknown key `cohrt` (did you mean `cohort`?)."),
        ({"bags": {"sizes": 5}}, "unknown key `bags.sizes` (did you mean `size`?)."),
        (
            {"training": {"restarts": {"t": 4}}},
            "unknown key `training.restarts.t` (did you mean `t0`?).",
        ),
        ({"split": {"colum": "s"}}, "unknown key `split.colum` (did you mean `column`?)."),
        (
            {"split": {"folder": 5, "repeats": 2}},
            "unknown key `split.folder` (did you mean `folds`?).",
        ),
        ({"split": {"repeats": 3}}, "`split.folds` is missing."),
        (
            {"split": {"folds": 5, "test": 0.2}},
            "`split.test` does not go with the other keys of `split`.",
        ),
        (
            {"endpoint": {"column": "a", "negativ": "b", "positive": "c"}},
            "unknown key `endpoint.negativ` (did you mean `negative`?).",
        ),
        ({"threshold": {"sens": 2}}, "unknown key `threshold.sens` (did you mean `sensitivity`?)."),
        (
            {"published": [{"source": "x", "method": "dl-cnb", "aucc": 0.8}]},
            "unknown key `published.0.aucc` (did you mean `auc`?).",
        ),
        ({"zzz": 1}, "unknown key `zzz`."),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(refusal, keys, sentence):
    assert refusal(**keys) == sentence


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"endpoint": "n0-vs-nope"},
            (
                "`endpoint` is 'n0-vs-nope', but may be n0-vs-npos, n1-2-vs-n3plus, "
                "n0-vs-n1-2-vs-n3plus, n0-vs-n1-2, n0-vs-n3plus, {column, negative, positive} or "
                "{column, classes: [first, second, ...]} (did you mean `n0-vs-npos`?)."
            ),
        ),
        (
            {"threshold": "youden"},
            (
                "`threshold` is 'youden', but may be youden-validation, youden-per-cohort, a "
                "number between 0 and 1, {sensitivity: 0.95} or {npv: 0.9} (did you mean "
                "`youden-validation`?)."
            ),
        ),
        (
            {"threshold": [1]},
            (
                "`threshold` is [1], but may be youden-validation, youden-per-cohort, a number "
                "between 0 and 1, {sensitivity: 0.95} or {npv: 0.9}."
            ),
        ),
        ({"threshold": 2}, "`threshold` is 2, but should be less than 1."),
        (
            {"threshold": {"sensitivity": 2}},
            "`threshold.sensitivity` is 2, but should be less than or equal to 1.",
        ),
        (
            {"split": 5},
            (
                "`split` is 5, but may be {seed, test, validation}, {column}, {folds, repeats, "
                "group, validation, seed} or {leave_out: column, validation, seed}."
            ),
        ),
        (
            {"regions": "tisue"},
            (
                "`regions` is 'tisue', but may be auto, annotation, tissue, whole or patches "
                "(did you mean `tissue`?)."
            ),
        ),
        (
            {"methods": ["dlcnb"]},
            (
                "`methods.0` is 'dlcnb', but may be clinical, clinical-boosting, dl-cnb, dl-cnb+c, "
                "one of the last two with an aggregator, as dl-cnb-gated, or dl-cnb-nuclei (did "
                "you mean `dl-cnb`?)."
            ),
        ),
        (
            {"methods": ["dl-cnb+c-transmill"]},
            (
                "`methods.0` is 'dl-cnb+c-transmill', but may be clinical, clinical-boosting, "
                "dl-cnb, dl-cnb+c, one of the last two with an aggregator, as dl-cnb-gated, or "
                "dl-cnb-nuclei (did you mean `dl-cnb+c-transmil`?)."
            ),
        ),
        ({"bags": 5}, "`bags` is 5, but should be a mapping of keys."),
        (
            {"endpoint": {"column": "grade", "classes": ["g1", "G1 "]}},
            "`endpoint.classes` is ['g1', 'G1 '], but a class is named twice.",
        ),
        (
            {"endpoint": {"column": "grade", "classes": ["g1", "g2"], "negative": "g1"}},
            "`endpoint.negative` does not go with the other keys of `endpoint`.",
        ),
        (
            {"endpoints": ["n0-vs-npos"]},
            "endpoint: and endpoints: are both given; take out one of them.",
        ),
        (
            {"endpoint": {"column": "a", "negative": False, "positive": "c"}},
            "`endpoint.negative` is False, but should be text: put it in quotes.",
        ),
        (
            {"training": {"seed": -1}},
            "`training.seed` is -1, but should be greater than or equal to 0.",
        ),
        (
            {"training": {"lr": float("inf")}},
            "`training.lr` is inf, but should be a finite number.",
        ),
    ],
)
def test_a_wrong_value_is_one_readable_sentence(refusal, keys, sentence):
    assert refusal(**keys) == sentence


def test_all_wrong_keys_are_told_at_once(refusal):
    assert refusal(cohrt=1, training={"lr": -1, "epoch": 3}, regions="tisue") == (
        "`regions` is 'tisue', but may be auto, annotation, tissue, whole or patches (did you mean "
        "`tissue`?); `training.lr` is -1, but should be greater than 0; unknown key "
        "`training.epoch` (did you mean `epochs`?); unknown key `cohrt` (did you mean `cohort`?)."
    )


def test_a_misspelt_required_key_is_told_once(load):
    with pytest.raises(ConfigError) as caught:
        load("cohrt: a.csv\nendpoint: n0-vs-npos\nslides: s\n")
    assert caught.value.problem.cause == "unknown key `cohrt` (did you mean `cohort`?)."
    with pytest.raises(ConfigError) as caught:
        load("slides: s\n")
    assert caught.value.problem.cause == "`cohort` is missing; `endpoint` is missing."


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"slides": None},
            (
                "slides: missing, but methods name dl-cnb; give the folder of slides, or set "
                "methods: [clinical]."
            ),
        ),
        ({"methods": ["dl-cnb", "dl-cnb"]}, "methods: a method is named twice."),
        (
            {"split": {"validation": 0}},
            (
                "threshold: is chosen on the validation cohort, but split.validation is 0; set a "
                "share for validation or a fixed threshold such as 0.5."
            ),
        ),
        (
            {
                "training": {"patience": 5},
                "split": {"folds": 5, "validation": 0},
                "threshold": 0.5,
            },
            (
                "training.patience: stops by validation, but split.validation is 0; set a share "
                "for validation, or take patience out."
            ),
        ),
        (
            {"training": {"batch_size": 5, "devices": 2}},
            "training.batch_size: is 5, which 2 devices cannot share; set a multiple of 2.",
        ),
        (
            {"training": {"augment": True}},
            (
                "training.augment: varies patches as they are encoded, but the encoder is not "
                "trained, so that features are computed once; set encoder.trainable: true, or "
                "take augment out."
            ),
        ),
        (
            {"encoder": {"name": "small_cnn", "weights": "none"}},
            "encoder: small_cnn without weights must be trained; set trainable: true.",
        ),
        (
            {"clinical": {"numeric": [], "categorical": []}},
            (
                "clinical: names no column, but methods use clinical data; name columns, or set "
                "methods: [dl-cnb]."
            ),
        ),
        (
            {"clinical": {"numeric": ["age", "age"]}},
            "clinical: names the column `age` twice.",
        ),
        (
            {"clinical": {"numeric": ["age", "nodes"]}},
            (
                "clinical: `nodes` is what the endpoint is made from, so a model that reads it has "
                "nothing to predict; take it out."
            ),
        ),
        (
            {"endpoint": {"column": "her2", "negative": "negative", "positive": "positive"}},
            (
                "clinical: `her2` is what the endpoint is made from, so a model that reads it has "
                "nothing to predict; take it out."
            ),
        ),
    ],
)
def test_keys_that_do_not_fit_together(refusal, keys, sentence):
    assert refusal(**keys) == sentence


def test_what_only_models_of_slides_train_with_is_not_asked_of_a_clinical_study(load_with):
    config = load_with(
        methods=["clinical"],
        split={"validation": 0},
        threshold=0.5,
        training={"patience": 5, "batch_size": 5, "devices": 2, "augment": True},
    )
    assert config.training.patience == 5


def test_a_clinical_study_needs_no_slides(load):
    config = load("cohort: c.csv\nendpoint: n0-vs-npos\nmethods: [clinical]\n")
    assert config.slides is None
    assert not config.uses_slides
    assert config.uses_clinical


def test_values_are_frozen(load_with):
    with pytest.raises(ValidationError, match="frozen"):
        load_with().name = "other"


def test_the_schema_is_json_and_describes_every_key():
    schema = json.loads(json.dumps(StudyConfig.model_json_schema()))
    assert set(schema["properties"]) == set(StudyConfig.model_fields)
    assert set(schema["required"]) == {"cohort"}
    assert schema["oneOf"] == [{"required": ["endpoint"]}, {"required": ["endpoints"]}]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Patches"]["properties"]["max_blank"]["description"] == (
        "A patch whose share of white pixels is this or more is dropped."
    )
