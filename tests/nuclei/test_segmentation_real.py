"""The shipped network on breast tiles that it did not learn from (NuCLS, CC0)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from axilla.nuclei.agreement import Agreement, compare_instances
from axilla.nuclei.classical import fit_classical
from axilla.nuclei.learned import LearnedSegmenter, read_network
from axilla.nuclei.segmentation import Segmenter, find_zoom, segment_image
from axilla.study.nuclei_training import read_outlined
from axilla.wsi.flat_readers import WholeReader

pytestmark = pytest.mark.real_data


def agreements(data_dir: Path, *, classical: bool) -> list[Agreement]:
    """Of each of the five tiles, whose scale is not told."""
    images = sorted((data_dir / "nuclei" / "nucls").glob("test_*.png"))
    assert len(images) == 5
    network = None if classical else LearnedSegmenter(read_network())
    compared = []
    for image in images:
        truth = read_outlined(image, image.with_suffix(".npz"))
        reader = WholeReader(truth.image, mpp=None)
        segmenter: Segmenter = network or fit_classical(truth.image.reshape(-1, 3)[::4])
        found = segment_image(reader, segmenter, zoom=find_zoom(reader, segmenter))
        compared.append(compare_instances(truth.instances, found))
    return compared


@pytest.fixture(scope="module")
def by_network(data_dir: Path) -> list[Agreement]:
    return agreements(data_dir, classical=False)


def test_outlines_agree_without_the_scale(by_network: list[Agreement]) -> None:
    assert np.mean([one.aji for one in by_network]) >= 0.62


def test_hardly_an_outlined_nucleus_is_missed(by_network: list[Agreement]) -> None:
    hits, truths = (sum(getattr(one, name) for one in by_network) for name in ("hits", "truths"))
    assert hits / truths >= 0.95


def test_detection_is_as_good_as_asked(by_network: list[Agreement]) -> None:
    hits, truths, found = (
        sum(getattr(one, name) for one in by_network) for name in ("hits", "truths", "found")
    )
    assert 2 * hits / (truths + found) >= 0.87  # all nuclei of the five tiles together


def test_the_network_is_the_default_since_it_beats_colour(
    by_network: list[Agreement], data_dir: Path
) -> None:
    by_colour = agreements(data_dir, classical=True)
    for measure in ("f1", "dice", "aji", "pq"):
        ours, theirs = (
            np.mean([getattr(one, measure) for one in found]) for found in (by_network, by_colour)
        )
        assert ours > theirs
