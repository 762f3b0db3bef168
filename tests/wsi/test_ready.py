"""Patches that come as files give what cutting gives; and the paper's cut, held to the original."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from axilla.core.config import Patches
from axilla.core.errors import SlideError
from axilla.core.types import Slide
from axilla.wsi.patches import PatchReader, cut_patches
from axilla.wsi.ready import check_ready, ready_patches, region_overview
from axilla.wsi.regions import find_regions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from axilla.core.types import PatchGrid

SIZE = Patches(size=32)
ORIGINAL = Patches(white_by="channel")


def names_of(grid: PatchGrid) -> set[str]:
    """The kept patches as BCNB calls them."""
    rows = zip(grid.region.tolist(), grid.xy.tolist(), strict=True)
    return {f"{grid.slide_id}_{k}_{x}_{y}" for k, (x, y) in rows}


@pytest.fixture
def cut(tmp_path: Path, drawn: Callable, save_png: Callable) -> tuple[Slide, PatchGrid]:
    """Regions 0 and 2 of a slide, cut here."""
    images = [
        save_png(drawn(150, 100, seed=1), "s_0.png"),
        save_png(drawn(70, 200, seed=2), "s_2.png"),
    ]
    slide = Slide("s", "p", tuple(images))
    return slide, cut_patches(slide, find_regions(slide, mode="whole"), config=SIZE)


def write_patches(slide: Slide, grid: PatchGrid, folder: Path) -> Slide:
    """The grid's patches as files, in no order."""
    folder.mkdir()
    regions = find_regions(slide, mode="whole")
    with PatchReader(slide, grid, regions, SIZE) as reader:
        pixels = reader.read_all()
    rows = zip(grid.region.tolist(), grid.xy.tolist(), pixels, strict=True)
    paths = []
    for k, (x, y), patch in rows:
        paths.append(folder / f"{slide.slide_id}_{k}_{x}_{y}.png")
        cv2.imwrite(str(paths[-1]), patch[..., ::-1])
    return Slide(slide.slide_id, slide.patient_id, tuple(sorted(paths, reverse=True)))


def test_ready_patches_are_the_grid_they_were_cut_from(
    cut: tuple[Slide, PatchGrid], tmp_path: Path
) -> None:
    slide, grid = cut
    assert set(grid.region.tolist()) == {0, 2}, "a region is called by the number in its name"
    ready = write_patches(slide, grid, tmp_path / "s")
    regions = find_regions(ready, mode="patches")
    assert [(r.index, r.source) for r in regions] == [(0, "patches"), (2, "patches")]
    # All files count, however white: the blank rule was theirs.
    again = cut_patches(ready, regions, config=SIZE.model_copy(update={"max_blank": 0.01}))
    for field in ("region", "xy", "white_share"):
        np.testing.assert_array_equal(getattr(again, field), getattr(grid, field))
    assert (again.dropped, again.size_level0, again.mpp) == (0, 32, None)
    with (
        PatchReader(slide, grid, find_regions(slide, mode="whole"), SIZE) as first,
        PatchReader(ready, again, regions, SIZE) as second,
    ):
        np.testing.assert_array_equal(first.read_all(), second.read_all())
        np.testing.assert_array_equal(first.read([3, 0]), second.read([3, 0]))
        # Nobody knows what a file was cut from, or where it was whitened.
        assert all(second.inside(index).all() for index in range(len(again)))


def test_the_overview_lays_patches_side_by_side(
    cut: tuple[Slide, PatchGrid], tmp_path: Path
) -> None:
    slide, grid = cut
    ready = write_patches(slide, grid, tmp_path / "s")
    region = find_regions(ready, mode="patches")[0]
    picture, scale = region_overview(region, slide=ready, max_side=1000)
    assert scale == 1
    with PatchReader(ready, grid, (region,), SIZE) as reader:
        for place in np.flatnonzero(grid.region == 0):
            x, y = grid.xy[place]
            np.testing.assert_array_equal(picture[y : y + 32, x : x + 32], reader.read([place])[0])
    small, scale = region_overview(region, slide=ready, max_side=40)
    assert max(small.shape) == 40
    assert scale == max(picture.shape) / 40


def test_errors(tmp_path: Path, save_png: Callable) -> None:
    patch = np.full((32, 32, 3), 9, np.uint8)
    for name in ("patch.png", "t_0_0_0.png"):
        slide = Slide("s", "p", (save_png(patch, name),))
        with pytest.raises(SlideError, match=r"patient p, .*does not say which patch of slide s"):
            ready_patches(slide)
    twice = save_png(patch, "s_0_0_0.png"), save_png(patch, "s_0_0_0.bmp")
    with pytest.raises(SlideError, match="another file says the same"):
        ready_patches(Slide("s", "p", twice))
    slide = Slide("s", "p", (twice[0], save_png(patch[:, :16], "s_0_32_0.png")))
    assert check_ready(slide, config=Patches(size=16))[0].cause == (
        "the patch has 32 x 32 pixels, and `patches.size` is 16 (2 of 2 patches of slide s)."
    )
    (problem,) = check_ready(slide, config=SIZE)
    assert (problem.patient, problem.file) == ("p", slide.images[1])
    with pytest.raises(SlideError, match=r"the patch has 16 x 32 pixels, and `patches.size` is 32"):
        cut_patches(slide, find_regions(slide, mode="patches"), config=SIZE)


def original_cut(image: np.ndarray, size: int = 256) -> dict[tuple[int, int], float]:
    """The original's rule, slow and plain: (x, y) and white share of the patches it keeps."""
    height, width = image.shape[:2]
    kept = {}
    y = 0
    while y < height:
        x = 0
        while x < width:
            patch = np.full((size, size, 3), 255, np.uint8)  # padded right and below with white
            part = image[y : min(y + size, height), x : min(x + size, width)]
            patch[: part.shape[0], : part.shape[1]] = part
            # What it compares and adds up is channels, not pixels.
            white = patch.tobytes().count(b"\xff") / 3 / (size * size)
            if white < 0.3:
                kept[x, y] = white
            x += size
        y += size
    return kept


@pytest.mark.real_data
@pytest.mark.parametrize(
    "region", ["351899_0", "351899_1", "351899_2", "389510_0", "389510_1", "389510_2"]
)
def test_the_original_rule(region: str, data_dir: Path) -> None:
    path = data_dir / "bcnb" / "regions" / f"{region}.jpg"
    slide = Slide(region[:-2], region[:-2], (path,))
    grid = cut_patches(slide, find_regions(slide, mode="whole"), config=ORIGINAL)
    expected = original_cut(cv2.imread(str(path)))
    got = {(x, y): s for (x, y), s in zip(grid.xy.tolist(), grid.white_share, strict=True)}
    assert got == pytest.approx(expected, abs=1e-6)
    assert set(grid.region.tolist()) == {int(region[-1])}


@pytest.mark.real_data
@pytest.mark.parametrize(("sample", "patches", "more"), [("351899", 215, 2), ("389510", 70, 1)])
def test_the_names_in_the_official_bags(
    sample: str, patches: int, more: int, data_dir: Path
) -> None:
    """The samples' numbers are not BCNB's; by the names of their patches they are found again.

    Each task drew its bags anew and left out what ten does not divide: together they name all.
    """
    official: dict[int, dict[str, list[str]]] = {}
    with tarfile.open(data_dir / "bcnb" / "splits" / "splits.tar.xz") as archive:
        for member in archive:
            if member.name.endswith(".json"):
                task = official.setdefault(int(member.name[-6]), {})
                file = archive.extractfile(member)
                assert file is not None
                for bag in json.load(file):
                    own = task.setdefault(bag["id"], [])
                    own += [p.split("/")[-1][len(bag["id"]) : -4] for p in bag["patch_paths"]]
    folder = data_dir / "bcnb" / "regions"
    slide = Slide(sample, sample, tuple(sorted(folder.glob(f"{sample}_*.jpg"))))
    regions = find_regions(slide, mode="whole")
    grid = cut_patches(slide, regions, config=ORIGINAL)
    by_pixel = cut_patches(slide, regions, config=Patches())
    assert names_of(grid) < names_of(by_pixel)
    assert len(by_pixel) - len(grid) == more
    ours = {name.removeprefix(sample) for name in names_of(grid)}
    assert len(ours) == patches
    # Every patch of exactly one patient is among ours, in every task.
    (patient,) = [p for p, names in official[0].items() if set(names) <= ours]
    tasks = [names[patient] for names in official.values() if patient in names]
    assert len(tasks) == 4, "all but N0 against N+(1-2), for the patient is N+(>2)"
    for names in tasks:
        assert set(names) <= ours
        assert len(names) == len(set(names)) == patches // 10 * 10
    assert set().union(*tasks) == ours, "between them, the tasks' bags name every patch of ours"
