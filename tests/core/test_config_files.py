"""What the study file says of files, of images and of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from axilla.core.config import (
    StudyConfig,
    load_config,
)
from axilla.core.errors import ConfigError


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
    assert load_with().qupath_cropped
    config = load_with(annotations={"folder": "pens", "qupath_cropped": False})
    assert (config.kept_classes, config.qupath_cropped) == (None, False)
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"folder": "a", "keeps": ["b"]},
            "unknown key `annotations.keeps` (did you mean `keep`?).",
        ),
        ({"keep": ["tumour"]}, "`annotations.folder` is missing."),
        (5, "`annotations` is 5, but may be a folder or {folder, keep: [class, ...]}."),
    ],
)
def test_wrong_annotations(refusal, given, sentence):
    assert refusal(annotations=given) == sentence


@pytest.mark.parametrize("keep", [[], "tumour", [" "], [["a"]]])
def test_wrong_classes(refusal, keep):
    assert "`annotations.keep" in refusal(annotations={"folder": "a", "keep": keep})
