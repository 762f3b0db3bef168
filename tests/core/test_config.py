from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from axilla.core.config import (
    ClassesEndpoint,
    ColumnEndpoint,
    ColumnSplit,
    FoldSplit,
    LeaveOutSplit,
    NpvThreshold,
    RandomSplit,
    Restarts,
    SensitivityThreshold,
    StudyConfig,
    endpoint_name,
    load_config,
    parse_threshold,
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
LEAST = {"cohort": "cohort.csv", "slides": "slides", "endpoint": "n0-vs-npos"}


@pytest.fixture
def load(tmp_path: Path):
    def from_text(text: str) -> StudyConfig:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return from_text


@pytest.fixture
def load_with(load):
    """The least study file with some keys set."""
    return lambda **keys: load(yaml.safe_dump({**LEAST, **keys}))


@pytest.fixture
def refusal(load_with, tmp_path: Path):
    """What is said of the least study file with some keys set, without file and remedy."""

    def cause(**keys: object) -> str:
        with pytest.raises(ConfigError) as caught:
            load_with(**keys)
        assert caught.value.problem.file == tmp_path / "study.yaml"
        return caught.value.problem.cause

    return cause


def test_a_stain_s_reference_image_is_a_path_and_folds_cannot_fit_one(
    load_with, refusal, tmp_path: Path
):
    assert load_with().stain is None
    for named, read in (("published", "published"), ("a.png", str(tmp_path / "a.png"))):
        stain = load_with(stain={"method": "macenko", "target": named}).stain
        assert stain.target == read
        assert stain.reference == (None if named == "published" else read)
        assert (stain.unreliable, stain.seed) == ("refuse", 8888)
    fitted = {"method": "reinhard", "target": "training"}
    assert load_with(stain=fitted).stain.reference is None
    assert "all folds share one set of features" in refusal(stain=fitted, split={"folds": 3})
    assert "did you mean `method`" in refusal(stain={"methd": "macenko"})


def test_how_heat_maps_are_drawn(load_with, refusal):
    assert load_with().heatmaps.model_dump() == {"scale": "slide", "ome_tiff": False}
    assert load_with(heatmaps={"scale": "cohort"}).heatmaps.scale == "cohort"
    assert refusal(heatmaps={"scale": "cohorts"}) == (
        "`heatmaps.scale` is 'cohorts', but may be slide, rank or cohort (did you mean `cohort`?)."
    )
    assert "did you mean `ome_tiff`" in refusal(heatmaps={"ome_tif": True})


def test_how_nuclei_are_found(load_with, refusal, tmp_path: Path):
    own = load_with().nuclei
    assert (own.tool, own.weights, own.geojson) == (None, None, True)
    own = load_with(nuclei={"tool": "cellpose", "weights": "cpsam", "tool_mpp": 0.3}).nuclei
    assert (own.tool, own.weights, own.tool_mpp) == ("cellpose", tmp_path / "cpsam", 0.3)
    assert "`nuclei.tool` is 'cellpos', but may be" in refusal(nuclei={"tool": "cellpos"})
    assert "stardist finds nuclei with its own weights; give a local file" in refusal(
        nuclei={"tool": "stardist"}
    )
    both = {"tool": "stardist", "weights": "a.h5", "classical": True}
    assert "take out tool or classical" in refusal(nuclei=both)
    assert "name the tool, or take it out" in refusal(nuclei={"tool_mpp": 0.5})


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


def test_environment_variables_and_relative_paths(load_with, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AXILLA_TEST_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load_with(
        cohort="${AXILLA_TEST_DATA}/c.csv",
        slides="../slides",
        annotations="~/notes",
        encoder={"name": "small_cnn", "weights": "${AXILLA_TEST_DATA}/w.pth"},
    )
    assert config.cohort == tmp_path / "elsewhere" / "c.csv"
    assert config.slides == tmp_path / ".." / "slides"
    assert config.annotations == tmp_path / "home" / "notes"
    assert config.encoder.weights == str(tmp_path / "elsewhere" / "w.pth")


def test_paths_are_relative_to_the_study_file_not_to_the_shell(
    load_with, tmp_path: Path, monkeypatch
):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    load_with()
    config = load_config(Path("..") / "study.yaml")
    assert config.cohort == tmp_path / "cohort.csv"
    assert config.out == tmp_path / "out"


def test_a_missing_environment_variable_is_named(load_with, monkeypatch):
    monkeypatch.delenv("AXILLA_TEST_DATA", raising=False)
    with pytest.raises(ConfigError, match="AXILLA_TEST_DATA, which is not set") as caught:
        load_with(cohort="${AXILLA_TEST_DATA}/c.csv")
    assert caught.value.problem.remedy == (
        "Set it, for example: export AXILLA_TEST_DATA=/path/to/data."
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "the study file holds no keys."),
        ("- a\n- b\n", "the study file holds no keys."),
        ("a: [1\nb: 2\n", "the study file is not valid YAML: line 2: "),
        ("a: 1\na: 2\n", "the study file is not valid YAML: line 2: the key `a` stands twice."),
        (
            "bags: {size: 1, size: 2}\n",
            "the study file is not valid YAML: line 1: the key `size` stands twice.",
        ),
        ("a: !!python/object/apply:os.getcwd []\n", "the study file is not valid YAML: line 1: "),
    ],
)
def test_a_file_that_is_no_study(load, text, cause):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.problem.cause.startswith(cause)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read \\(No such file or directory\\)"):
        load_config(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path / "latin.yaml")


def test_annotations_with_classes_to_keep(load_with, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PENS", str(tmp_path / "pens"))
    plain = load_with(annotations="notes")
    assert (plain.annotation_folder, plain.kept_classes) == (tmp_path / "notes", None)
    config = load_with(annotations={"folder": "${PENS}", "keep": ["Tumour", 2]})
    assert config.annotation_folder == tmp_path / "pens"
    assert config.kept_classes == ("Tumour", "2")
    assert StudyConfig.model_validate(config.model_dump()) == config
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config
    assert (load_with().annotation_folder, load_with().kept_classes) == (None, None)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"folder": "a", "keeps": ["b"]},
            "unknown key `annotations.keeps` (did you mean `keep`?).",
        ),
        ({"folder": "a"}, "`annotations.keep` is missing."),
        ({"keep": ["tumour"]}, "`annotations.folder` is missing."),
        (5, "`annotations` is 5, but may be a folder or {folder, keep: [class, ...]}."),
    ],
)
def test_wrong_annotations(refusal, given, sentence):
    assert refusal(annotations=given) == sentence


@pytest.mark.parametrize("keep", [[], "tumour", [" "], [["a"]]])
def test_wrong_classes(refusal, keep):
    assert "`annotations.keep" in refusal(annotations={"folder": "a", "keep": keep})


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


SEVERAL = {key: value for key, value in LEAST.items() if key != "endpoint"}


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
