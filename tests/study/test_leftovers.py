"""What earlier runs left in the folder is told, what is still of the study is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.study.leftovers import leftover_sentences

WANTED = ". Delete them if they are no longer wanted."


def study(folder: Path, rows: list[str], **changes: Any) -> StudyConfig:
    table = folder / "cohort.csv"
    table.write_text("\n".join(["patient_id,slide_id,nodes", *rows]) + "\n", encoding="utf-8")
    (folder / "slides").mkdir(exist_ok=True)
    settings = {
        "cohort": table, "slides": folder / "slides", "endpoint": "n0-vs-npos",
        "methods": ("dl-cnb",), "out": folder / "out",
    }  # fmt: skip
    if "endpoints" in changes:
        del settings["endpoint"]
    return StudyConfig.model_validate(settings | changes)


def put(out: Path, *names: str) -> None:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}", encoding="utf-8")


ROWS = ["P1,Q01,0", "P2,Q02,1", "P3,,"]


def test_a_folder_of_this_study_alone_tells_nothing(tmp_path: Path) -> None:
    config = study(tmp_path, ROWS)
    put(
        config.out, "models/dl-cnb/model.json", "models/dl-cnb/fold-1/model.json",
        "models/somebody-s/model.json", "set-aside/models/clinical/model.json",
        "patches/Q01.parquet", "patches/P3.parquet", "features/imported.json",
        "features/vgg16_bn/Q01.h5", "nuclei/Q01-patches.parquet", "nuclei/features.csv",
        "attention/Q01-1.geojson", "heatmaps/Q01-attention-2.ome.tif", "explained/P2.html",
        "explained/P2-nuclei.svg", "explained/learned-from/P1/page.html", "audit/index.html",
        "figures/confusion_dl-cnb_test.svg", "figures/roc_test.svg", "tables/table1_by_class.csv",
    )  # fmt: skip
    assert leftover_sentences(config) == []


def test_models_figures_and_tables_of_a_dropped_method(tmp_path: Path) -> None:
    config = study(tmp_path, ROWS)
    put(
        config.out, "models/clinical/model.json", "models/dl-cnb+c/fold-1/model.json",
        "models/dl-cnb/model.json", "figures/roc_clinical_test.svg",
        "figures/roc_clinical_test.png", "figures/roc_dl-cnb_test.svg",
        "tables/subgroups_dl-cnb+c.csv", "tables/subgroups_dl-cnb+c.tex",
    )  # fmt: skip
    models = config.out / "models"
    told = (
        f"left from earlier settings: models of clinical, dl-cnb+c ({models / 'clinical'}, "
        f"{models / 'dl-cnb+c'}), 1 figure and 1 table of these{WANTED}"
    )
    assert leftover_sentences(config) == [told]
    # What the last evaluation wrote is of the study, whatever its name.
    files = [*(config.out / "figures").iterdir(), *(config.out / "tables").iterdir()]
    store.write_step(config.out, "evaluate", key="k", files=files)
    assert leftover_sentences(config) == [told.replace(", 1 figure and 1 table of these", "")]


def test_slides_that_left_the_table(tmp_path: Path) -> None:
    config = study(tmp_path, ROWS)
    put(
        config.out, "patches/Q01.parquet", "patches/Q01-2.parquet", "patches/Q010.parquet",
        "attention/Q010.csv", "attention/Q010-1.geojson", "heatmaps/Q010-patches.png",
        "heatmaps/Q010-attention.ome.tif", "nuclei/Q01.parquet", "heatmaps/Z9-contribution.png",
    )  # fmt: skip
    (told,) = leftover_sentences(config)
    assert told == (
        "left of slides that are no longer in the table: Q01-2, Q010, Z9 (patches, attention, "
        "heatmaps): delete these files if the patient withdrew."
    )


def test_many_slides_are_counted(tmp_path: Path) -> None:
    config = study(tmp_path, ROWS)
    put(config.out, *(f"patches/X{number}.parquet" for number in range(8)))
    (told,) = leftover_sentences(config)
    assert "X0, X1, X2, X3, X4 and 3 more (patches)" in told


def test_endpoints_share_slides_and_have_their_own_models(tmp_path: Path) -> None:
    config = study(tmp_path, ROWS, endpoints=["n0-vs-npos", "n0-vs-n1-2"])
    first = config.studies[0].out
    put(config.out, "patches/Q01.parquet", "patches/Q09.parquet")
    put(first, "models/dl-cnb/model.json", "attention/Q02.csv", "heatmaps/Q09.png")
    (told,) = leftover_sentences(config)
    assert "table: Q09 (patches, heatmaps): delete" in told
    put(first, "models/clinical/model.json")
    assert f"models of clinical ({first / 'models' / 'clinical'})" in leftover_sentences(config)[0]


@pytest.mark.parametrize("folder", ["stain/{}.json", "features/small_cnn/{}.h5", "audit/{}.png"])
def test_folders_by_slide(folder: str, tmp_path: Path) -> None:
    config = study(tmp_path, ROWS)
    put(config.out, folder.format("SYN-0068"), folder.format("Q02"))
    (told,) = leftover_sentences(config)
    assert f"table: SYN-0068 ({folder.split('/', maxsplit=1)[0]}): delete" in told
