"""What is on a slide: the witness patches' nuclei, and nothing else that tells the label."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skimage.measure import regionprops_table

from axilla.cohorts.synthetic_config import SyntheticConfig
from axilla.cohorts.tissue_layout import outline_mask
from axilla.cohorts.tissue_painter import PaintedSlide, paint_slide

CONFIG = SyntheticConfig()
SHARE = 0.4


def painted(seed: int, share: float, config: SyntheticConfig = CONFIG) -> PaintedSlide:
    return paint_slide(np.random.default_rng(seed), witness_share=share, config=config)


@pytest.fixture(scope="module")
def slides() -> list[PaintedSlide]:
    return [painted(seed, SHARE) for seed in range(4)]


@pytest.fixture(scope="module")
def counterfactuals() -> list[PaintedSlide]:
    """The same slides, had the patients been N0."""
    return [painted(seed, 0.0) for seed in range(4)]


def morphometry(slide: PaintedSlide) -> pd.DataFrame:
    """One row a tumour patch: means over the nuclei whose centroid is in it."""
    nuclei = pd.DataFrame(
        regionprops_table(
            slide.inst_map,
            properties=("label", "centroid", "area", "perimeter", "orientation"),
        )
    )
    nuclei["circularity"] = 4 * np.pi * nuclei["area"] / nuclei["perimeter"] ** 2
    rows = []
    for (x, y), cluster in zip(slide.grid.xy, slide.grid.cluster, strict=True):
        inside = nuclei[
            nuclei["centroid-1"].between(x, x + 63.999)
            & nuclei["centroid-0"].between(y, y + 63.999)
        ]
        doubled = np.exp(2j * inside["orientation"].to_numpy())
        rows.append(
            {
                "witness": cluster > 0,
                "count": len(inside),
                "area": inside["area"].mean(),
                "perimeter": inside["perimeter"].mean(),
                "circularity": inside["circularity"].mean(),
                "polarity": abs(doubled.mean()) if len(inside) else np.nan,
                "cover": inside["area"].sum() / 64**2,
            }
        )
    return pd.DataFrame(rows)


def test_witness_patches_have_what_section_3_6_found(slides: list[PaintedSlide]):
    for slide in slides:
        mean = morphometry(slide).groupby("witness").mean()
        witness, other = mean.loc[True], mean.loc[False]
        assert witness["count"] > 1.1 * other["count"]
        assert witness["area"] < 0.9 * other["area"]
        assert witness["perimeter"] < 0.97 * other["perimeter"]
        assert witness["circularity"] < other["circularity"] - 0.02
        assert witness["polarity"] > other["polarity"] + 0.15
        assert witness["cover"] == pytest.approx(other["cover"], abs=0.05)


def test_witnesses_change_nothing_outside_the_tumour(
    slides: list[PaintedSlide], counterfactuals: list[PaintedSlide]
):
    for slide, other in zip(slides, counterfactuals, strict=True):
        for a, b in zip(slide.layout.tumours, other.layout.tumours, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(slide.grid.xy, other.grid.xy)
        assert not other.grid.cluster.any()
        tumour = outline_mask(slide.layout.tumours, config=CONFIG)
        reach = cv2.dilate(tumour, np.ones((25, 25), np.uint8))
        np.testing.assert_array_equal(slide.image[reach == 0], other.image[reach == 0])
        assert (slide.image[reach > 0] != other.image[reach > 0]).any()


def test_ordinary_patches_are_those_of_n0_patients(
    slides: list[PaintedSlide], counterfactuals: list[PaintedSlide]
):
    positive = pd.concat([morphometry(slide) for slide in slides], ignore_index=True)
    n0 = pd.concat([morphometry(slide) for slide in counterfactuals], ignore_index=True)
    pairs = pd.DataFrame({"positive": positive["count"], "n0": n0["count"]})
    ordinary = pairs[~positive["witness"]].mean()
    assert ordinary["positive"] == pytest.approx(ordinary["n0"], rel=0.05)
    for feature, tolerance in (("area", 0.03), ("perimeter", 0.03), ("circularity", 0.02)):
        ours = positive.loc[~positive["witness"], feature].mean()
        assert ours == pytest.approx(n0[feature].mean(), rel=tolerance), feature


def test_darkness_does_not_give_the_witnesses_away(slides: list[PaintedSlide]):
    auc = []
    for slide in slides:
        mean = [slide.image[y : y + 64, x : x + 64].mean() for x, y in slide.grid.xy]
        rank = pd.Series(mean).rank().to_numpy()
        witness = slide.grid.cluster > 0
        n = witness.sum()
        auc.append((rank[witness].sum() - n * (n + 1) / 2) / (n * (~witness).sum()))
    assert 0.2 < np.mean(auc) < 0.8


def test_witnesses_are_whole_patches_in_touching_clusters(slides: list[PaintedSlide]):
    for slide in slides:
        grid = slide.grid
        assert (grid.cluster > 0).sum() == round(SHARE * len(grid.xy))
        for region, outline in enumerate(slide.layout.tumours):
            corner = outline.min(axis=0)
            assert ((grid.xy[grid.region == region] - corner) % CONFIG.patch == 0).all()
        for number in range(1, grid.cluster.max() + 1):
            members = grid.cluster == number
            assert len(set(grid.region[members])) == 1
            cells = (grid.xy[members] - grid.xy[members].min(axis=0)) // CONFIG.patch
            board = np.zeros(cells.max(axis=0) + 1, dtype=bool)
            board[tuple(cells.T)] = True
            assert ndimage.label(board)[1] == 1


def test_tumour_patches_are_those_with_little_outside(slides: list[PaintedSlide]):
    for slide in slides:
        padded = np.zeros((928, 1228), dtype=np.uint8)
        for (x, y), region in zip(slide.grid.xy, slide.grid.region, strict=True):
            padded[:] = 0
            cv2.fillPoly(padded, [slide.layout.tumours[region]], 1)
            assert 1 - padded[y : y + 64, x : x + 64].mean() < 0.3


def test_instance_map_holds_the_drawn_nuclei(slides: list[PaintedSlide]):
    slide = slides[0]
    area = np.bincount(slide.inst_map.ravel())[1:]
    assert len(area) == len(slide.kinds) > 1000
    assert area.min() >= 4
    assert ndimage.label(slide.inst_map > 0, np.ones((3, 3)))[1] == len(area)
    assert 0 < (slide.kinds == 0).sum() < (slide.kinds == 2).sum()

    red = slide.image[..., 0].astype(float)
    grown = cv2.dilate(slide.inst_map.astype(np.float32), np.ones((7, 7))).astype(np.int32)
    ring = np.where(slide.inst_map > 0, 0, grown)
    numbers = np.unique(ring)[1:]
    own = ndimage.mean(red, slide.inst_map, numbers)
    around = ndimage.mean(red, ring, numbers)
    assert len(numbers) > 0.95 * len(area)
    assert np.mean(own < around - 25) > 0.97


def test_nuclei_do_not_touch(slides: list[PaintedSlide]):
    for slide in slides:
        for a, b in (
            (slide.inst_map[1:], slide.inst_map[:-1]),
            (slide.inst_map[:, 1:], slide.inst_map[:, :-1]),
        ):
            touching = (a != b) & (a > 0) & (b > 0)
            assert not touching.any()


def test_colours_are_those_of_haematoxylin_and_eosin(slides: list[PaintedSlide]):
    nuclei = []
    for slide in slides:
        tissue = outline_mask(slide.layout.cores, config=CONFIG) > 0
        far = cv2.dilate(tissue.astype(np.uint8), np.ones((31, 31))) == 0
        far[:40] = False
        assert slide.image[far].mean() == pytest.approx(245, abs=3)
        assert slide.image.max() < 255
        nuclei.append(slide.image[slide.inst_map > 0].mean(axis=0))
        red, green, blue = slide.image[tissue & (slide.inst_map == 0)].mean(axis=0)
        assert red > blue > green
        assert nuclei[-1][1] == nuclei[-1].min()
        assert nuclei[-1][2] / nuclei[-1][0] > blue / red + 0.1
    red, green, blue = np.mean(nuclei, axis=0)
    assert blue > red > green  # purple; stain varies, a single slide may lean to pink


def test_generated_is_written_on_glass_beside_the_tissue(slides: list[PaintedSlide]):
    for slide in slides:
        corner = slide.image[8:26, 8:100]
        assert (corner < 180).all(axis=2).mean() > 0.05
        assert outline_mask(slide.layout.cores, config=CONFIG)[:40].sum() == 0


def test_nuclei_grow_with_magnification():
    fine = replace(CONFIG, width=700, height=500, mpp=0.5)
    coarse = replace(CONFIG, width=700, height=500, mpp=1.0)
    area = [
        np.median(np.bincount(slide.inst_map.ravel())[1:][slide.kinds == 2])
        for slide in (painted(1, 0.0, fine), painted(1, 0.0, coarse))
    ]
    assert area[0] == pytest.approx(4 * area[1], rel=0.15)


@pytest.mark.parametrize("seed", range(6))
def test_small_slides_have_tumour_patches(seed: int):
    config = SyntheticConfig(width=480, height=360, patch=48)
    slide = painted(seed, 0.3, config)
    assert slide.image.shape == (360, 480, 3)
    assert len(slide.grid.xy) >= 8
