"""Lines lie on the nuclei that they are of, and tell which were measured."""

from __future__ import annotations

import numpy as np

from axilla.nuclei.outlining import CUT, MEASURED, outline_nuclei


def lines(drawn: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (drawn == np.array(colour, np.uint8)).all(axis=2)


def test_whole_and_cut_nuclei() -> None:
    pixels = np.full((300, 300, 3), 90, np.uint8)
    instances = np.zeros((300, 300), np.int32)
    instances[100:120, 50:80] = 1
    instances[100:120, 80:110] = 2  # they touch
    instances[0:20, 200:220] = 3
    drawn = outline_nuclei(pixels, instances)
    measured, cut = lines(drawn, MEASURED), lines(drawn, CUT)
    expected = np.zeros((300, 300), bool)
    expected[100:120, 50:110] = True
    expected[101:119, 51:79] = expected[101:119, 81:109] = False
    np.testing.assert_array_equal(measured, expected)
    assert cut.sum() == 2 * (20 + 20) - 4
    assert cut[0, 200:220].all()
    assert (drawn[~(measured | cut)] == 90).all()


def test_a_nucleus_at_the_outline_is_cut() -> None:
    instances = np.zeros((300, 300), np.int32)
    instances[100:120, 50:80] = 1
    instances[200:220, 50:80] = 2
    inside = np.ones((150, 150), np.uint8)
    inside[:61] = 0  # 122 pixels of the enlarged patch
    inside[61:90] = 1
    drawn = outline_nuclei(
        np.full((300, 300, 3), 90, np.uint8), instances, enlarged=2, inside=inside
    )
    assert lines(drawn, CUT)[:150].sum() == lines(drawn, MEASURED)[150:].sum() == 2 * (20 + 30) - 4
    assert not lines(drawn, MEASURED)[:150].any()


def test_a_small_patch_is_enlarged_and_its_line_stays_thin() -> None:
    instances = np.zeros((64, 64), np.int32)
    instances[10:20, 10:20] = 7
    drawn = outline_nuclei(np.zeros((64, 64, 3), np.uint8), instances)
    assert drawn.shape == (256, 256, 3)
    assert lines(drawn, MEASURED).sum() == 4 * 40 - 4
