"""Heat maps of a planted witness: drawn, as OME-TIFF and for QuPath, at the place where it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from axilla.core import store
from axilla.core.config import Aggregator, StudyConfig
from axilla.core.progress import Silent
from axilla.mil.bundle import Bundle
from axilla.mil.model import DLCNB
from axilla.study import heat_drawing
from axilla.study.chain import run
from axilla.study.explaining import explain_all
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout
from axilla.study.tiling import Tiles, tile_slides
from axilla.wsi.patches import PatchReader

PATCH, COLUMNS, ROWS = 32, 24, 18
LEFT, TOP = 37, 21
"""Corner of the outline: patches lie on no multiple of anything."""
WITNESS = (LEFT + 14 * PATCH, TOP + 3 * PATCH, LEFT + 20 * PATCH, TOP + 8 * PATCH)
"""Left, top, right and bottom of the rectangle that the model looks at, in level-0 pixels."""
MPP = 0.5
SIZE = (LEFT + COLUMNS * PATCH + 90, TOP + ROWS * PATCH + 64)
"""Width and height of the slide."""


@dataclass(frozen=True)
class Planted:
    """A study whose model is made by hand, so that what it looks at is known."""

    fitting: Fitting
    tiles: Tiles
    strength: dict[str, np.ndarray]
    """What each patch of a test slide carries."""
    figures: list[Figure]
    """As they are drawn."""

    @property
    def layout(self) -> Layout:
        return Layout(self.fitting.config.out)

    def table(self, slide: str) -> pd.DataFrame:
        return pd.read_csv(self.layout.attention(slide))

    def explain(self, **heatmaps: Any) -> None:
        config = self.fitting.config.model_copy(
            update={"heatmaps": type(self.fitting.config.heatmaps)(**heatmaps)}
        )
        self.figures.clear()
        explain_all(
            Fitting(
                config, self.fitting.cohort, self.fitting.partitions, self.fitting.slides,
                self.fitting.slide_keys,
            ),
            self.tiles, {("dl-cnb", "split"): "model"}, reporter=Silent(),
        )  # fmt: skip


def within(xy: Any, box: tuple[int, int, int, int] = WITNESS) -> np.ndarray:
    """Which corners of patches lie in a rectangle."""
    x, y = np.asarray(xy).T
    return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])


def looking_model() -> DLCNB:
    """Attention and score both rise with the first number of an instance; no more is read."""
    config = Aggregator(width=4, attention=2, dropout=0.0)
    model = DLCNB(encoder=None, features=4, clinical=0, classes=2, config=config)
    with torch.no_grad():
        for part in model.parameters():
            part.zero_()
        model.project[0].weight[0, 0] = 1  # h_0 = x_0
        model.pool.tanh[0].weight[0, 0] = 0.3  # a ~ exp(2 tanh(0.3 h_0))
        model.pool.score.weight[0, 0] = 2
        model.classifier[0].weight[0, 0] = 1
        model.classifier[2].weight[1, 0] = 1
    return model


def write_slide(path: Path, notes: Path) -> None:
    """Plain tissue on white, and its outline, of whole patches; no two slides are the same."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    right, bottom = LEFT + COLUMNS * PATCH, TOP + ROWS * PATCH
    pixels[TOP:bottom, LEFT:right] = (190, 150, 200)
    pixels[0, int(path.stem[1:])] = 0
    cv2.imwrite(str(path), pixels)
    ring = [[LEFT, TOP], [right, TOP], [right, bottom], [LEFT, bottom]]
    outline = {"positive": [{"vertices": ring}]}
    (notes / f"{path.stem}.json").write_text(json.dumps(outline), encoding="utf-8")


@pytest.fixture
def planted(
    plain_study: Callable[..., dict[str, Any]], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Planted:
    """Two test slides; the second one's witness is weaker."""
    people = [f"W{i}" for i in range(6)]
    splits = ["test", "test", "train", "train", "val", "val"]
    rows = [f"{p},{i % 2},{s}" for i, (p, s) in enumerate(zip(people, splits, strict=True))]
    settings = plain_study(rows, [], header="patient_id,nodes,split")
    notes = settings["slides"].parent / "annotations"
    for name in people:
        write_slide(settings["slides"] / f"{name}.png", notes)
    config = StudyConfig.model_validate(
        settings
        | {
            "annotations": notes, "regions": "annotation", "slide_mpp": MPP, "threshold": 0.5,
            "patches": {"size": PATCH}, "bags": {"size": 10}, "split": {"column": "split"},
            "encoder": {"name": "small_cnn", "weights": str(weights), "trainable": False},
        }
    )  # fmt: skip
    result = run(config, until="tile")
    tiles = tile_slides(result.cohort, config=config, exclude_failed=False, reporter=Silent())
    rng = np.random.default_rng(4)
    strength = {}
    for name, most in (("W0", 2.0), ("W1", 1.0)):
        xy = tiles.grids[name].xy
        assert len(xy) == COLUMNS * ROWS
        strength[name] = rng.random(len(xy)) + most * within(xy)
    slides = {n: np.pad(s[:, None], ((0, 0), (0, 3))).astype("f4") for n, s in strength.items()}
    bundle = Bundle.single("dl-cnb", ("N0", "N(+)"), {}, network=looking_model())
    monkeypatch.setattr("axilla.study.explaining.load_bundle", lambda *_: bundle)
    figures: list[Figure] = []
    real = heat_drawing.figure_png

    def spy(figure: Figure, *, dpi: int) -> bytes:
        figures.append(figure)
        return real(figure, dpi=dpi)

    monkeypatch.setattr(heat_drawing, "figure_png", spy)
    fitting = Fitting(config, result.cohort, result.partitions, slides, dict.fromkeys(people, "k"))  # type: ignore[arg-type]
    return Planted(fitting, tiles, strength, figures)


def test_attention_and_contribution_are_highest_at_the_witness(planted: Planted) -> None:
    planted.explain()
    for slide, strength in planted.strength.items():
        table = planted.table(slide)
        inside = within(table[["x", "y"]])
        assert inside.sum() == 30
        # A contribution changes sign with its bag's companions, and is of fewer bags.
        for name, least in (("attention", 0.95), ("contribution", 0.85)):
            assert spearmanr(table[name], strength).statistic > least
            assert within(table[["x", "y"]].iloc[[table[name].argmax()]]).all()
        tiles = json.loads(planted.layout.tiles(slide, None).read_text(encoding="utf-8"))
        found = sorted(
            tiles["features"], key=lambda t: -t["properties"]["measurements"]["Attention"]
        )
        corners = [tile["geometry"]["coordinates"][0][0] for tile in found]
        # The strong witness takes the first 30 places; the weak one is above most of the others.
        assert within(corners[: 30 if slide == "W0" else 10]).all()
        assert found[0]["properties"]["measurements"]["Attention rank"] == 1


def colours_of(figure: Figure, xy: np.ndarray) -> np.ndarray:
    """Median colour of each patch in a drawn heat map, found by its level-0 coordinates."""
    figure.set_dpi(220)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    ax = figure.axes[0]
    # The thumbnail is not smaller than the slide here: axes are in level-0 pixels.
    assert ax.get_xlim() == (0, SIZE[0])
    found = []
    for x, y in xy:
        corners = ax.transData.transform([[x, y], [x + PATCH, y + PATCH]])
        (left, top), (right, bottom) = np.round(corners * (1, -1) + (0, len(pixels))).astype(int)
        box = pixels[top + 3 : bottom - 3, left + 3 : right - 3]
        found.append(np.median(box.reshape(-1, 3), axis=0))
    return np.array(found)


@pytest.mark.parametrize("scale", ["slide", "rank", "cohort"])
def test_the_drawn_colours_are_where_the_values_are(planted: Planted, scale: str) -> None:
    planted.explain(scale=scale)
    table = planted.table("W0")
    xy = table[["x", "y"]].to_numpy()
    # From blue to yellow: red rises with the value all along.
    red = colours_of(planted.figures[0], xy)[:, 0]
    assert spearmanr(red, table["attention"]).statistic > 0.99
    assert within(xy[np.argsort(-red, kind="stable")[:30]]).all()
    # From teal to brown: red less blue rises.
    red, _, blue = colours_of(planted.figures[1], xy).T
    assert spearmanr(red - blue, table["contribution"]).statistic > 0.95
    assert within(xy[[np.argmax(red - blue)]]).all()


def test_scales(planted: Planted) -> None:
    def ends() -> list[tuple[float, float]]:
        return [figure.axes[0].collections[0].get_clim() for figure in planted.figures]

    def labels() -> list[str]:
        return [figure.axes[1].get_ylabel() for figure in planted.figures]

    planted.explain()
    tables = [planted.table(slide) for slide in ("W0", "W1")]
    attention = [(t["attention"].min(), t["attention"].max()) for t in tables]
    most = [t["contribution"].abs().max() for t in tables]
    assert most[0] > 1.2 * most[1]
    both = [(attention[i], (-most[i], most[i])) for i in range(2)]
    assert ends() == [pytest.approx(pair) for two in both for pair in two]
    assert all("this slide's range" in label for label in labels())

    planted.explain(scale="rank")
    assert ends()[::2] == [(0, 1), (0, 1)]
    assert ends()[1::2] == [pytest.approx((-m, m)) for m in most], "a rank has no sign"
    assert "rank within the slide" in labels()[0]
    assert "this slide's range" in labels()[1]
    drawn = planted.figures[0].axes[0].collections[0].get_array()
    expected = tables[0]["attention"].rank(pct=True)
    np.testing.assert_allclose(drawn, expected)

    planted.explain(scale="cohort")
    low, high = min(a[0] for a in attention), max(a[1] for a in attention)
    assert ends() == [pytest.approx(p) for p in 2 * [(low, high), (-max(most), max(most))]]
    assert all("all slides shown" in label for label in labels())
    assert labels()[0].startswith("Attention")
    assert labels()[1].startswith("Contribution to the log-odds of N(+)")


def test_ome_tiff_lies_on_the_slide(planted: Planted) -> None:
    planted.explain(ome_tiff=True)
    table = planted.table("W0")
    xy = table[["x", "y"]].to_numpy()
    for name in ("attention", "contribution"):
        path = planted.layout.overlay("W0", name, None)
        assert path.name == f"W0-{name}.ome.tif"
        with tifffile.TiffFile(path) as file:
            levels = [level.asarray() for level in file.series[0].levels]
            told = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        # Corners at 37 and 21: a pixel is one of level 0, and each level is half the one before.
        assert [level.shape for level in levels] == [SIZE[::-1], (331, 448)]
        assert told["Channel"]["Name"] == name.capitalize()
        assert (told["PhysicalSizeX"], told["PhysicalSizeXUnit"]) == (MPP, "µm")
        for step, level in zip((1, 2), levels, strict=True):
            x, y = (xy + PATCH // 2).T // step
            np.testing.assert_array_equal(level[y, x], table[name].astype("f4"))
            row, column = np.unravel_index(np.nanargmax(level), level.shape)
            assert within([[column * step, row * step]]).all()
        # To the pixel: nothing but the outline's square has values.
        seen = np.isfinite(levels[0])
        assert seen[TOP : TOP + ROWS * PATCH, LEFT : LEFT + COLUMNS * PATCH].all()
        assert seen.sum() == len(xy) * PATCH**2


def test_only_what_changed_is_made_again(planted: Planted, work: Counter[str]) -> None:
    planted.explain(ome_tiff=True)
    assert work == {"measure_slide": 2, "draw_slide": 2}
    folder = planted.layout.heatmap("W0").parent
    overlays = {path: path.read_bytes() for path in folder.glob("*.ome.tif")}
    assert len(overlays) == 4
    planted.explain(ome_tiff=True)
    assert work == {"measure_slide": 2, "draw_slide": 2}
    next(iter(overlays)).unlink()
    planted.explain(ome_tiff=True)
    assert work == {"measure_slide": 2, "draw_slide": 3}, "a lost file is drawn, not measured"
    assert {path: path.read_bytes() for path in overlays} == overlays
    planted.explain(scale="cohort")
    assert work == {"measure_slide": 2, "draw_slide": 5}
    assert not list(folder.glob("*.ome.tif")), "what is not asked for any more is not left behind"
    done = store.step_files(planted.layout.out, "heatmaps/W0")
    assert set(done) == {"heatmaps/W0.png", "heatmaps/W0-contribution.png"}


def test_colours_of_the_cohort_follow_its_slides(planted: Planted, work: Counter[str]) -> None:
    """A new extreme on one slide draws the other one anew too, without measuring it."""
    planted.explain(scale="cohort")
    before = planted.layout.heatmap("W0").read_bytes()
    slides = planted.fitting.slides
    assert isinstance(slides, dict)
    slides["W1"][:] = 0
    slides["W1"][0] = 9
    planted.fitting.slide_keys["W1"] = "another"  # type: ignore[index]
    work.clear()
    planted.explain(scale="cohort")
    assert work == {"measure_slide": 1, "draw_slide": 2}
    assert planted.layout.heatmap("W0").read_bytes() != before


def test_the_setting_trains_and_measures_nothing_anew(
    finished: tuple[StudyConfig, Any], again: Callable[..., StudyConfig], work: Counter[str]
) -> None:
    config = again(finished[0], heatmaps={"scale": "rank"})
    run(config)
    assert work == {"draw_slide": 6}
    table, picture = "attention/SYN-0005.csv", "heatmaps/SYN-0005.png"
    assert (config.out / table).read_bytes() == (finished[0].out / table).read_bytes()
    assert (config.out / picture).read_bytes() != (finished[0].out / picture).read_bytes()


def test_no_more_is_read_than_the_gallery_shows(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    galleries: list[Any] = []

    def stamped(_: PatchReader, indices: np.ndarray) -> np.ndarray:
        """Patches of one pixel, which says which patch it is."""
        read.append(len(indices))
        places = np.stack([*np.divmod(indices, 256), np.zeros_like(indices)], axis=-1)
        return places.astype(np.uint8)[:, None, None]

    def kept(_: Figure, patches: Any, *, values: Any, **told: Any) -> None:
        places = [[256 * int(p[0, 0, 0]) + int(p[0, 0, 1]) for p in row] for row in patches]
        galleries.append((places, values))

    monkeypatch.setattr(PatchReader, "read", stamped)
    monkeypatch.setattr("axilla.study.explaining.draw_gallery", kept)
    planted.explain()
    assert read == [16, 16]
    for slide, (places, values) in zip(planted.strength, galleries, strict=True):
        attention = planted.table(slide)["attention"].to_numpy()
        order = np.argsort(-attention, kind="stable").tolist()
        assert places == [order[:8], order[:-9:-1]]
        assert values == [[pytest.approx(attention[i]) for i in row] for row in places]
