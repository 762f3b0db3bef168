from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from axilla.analysis.plots.look import DASHES, OKABE_ITO

# Machado, Oliveira and Fernandes 2009 (doi:10.1109/TVCG.2009.113), severity 1.0: how linear RGB
# looks to somebody without the cones for long (protanopia) or middle wavelengths (deuteranopia).
MACHADO = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "full": np.eye(3),
}


def seen(colours, matrix):
    """The colours as they are seen, in CIELAB [n, 3]."""
    srgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.asarray(matrix).T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(srgb)


def nearest(colours, matrix):
    """Smallest CIEDE2000 difference of two of the colours; about 2 is just noticed."""
    lab = seen(colours, matrix)
    return min(deltaE_ciede2000(a, b) for a, b in combinations(lab, 2))


@pytest.mark.parametrize("sight", MACHADO)
def test_colours_are_told_apart_with_every_sight(sight):
    assert nearest(OKABE_ITO, MACHADO[sight]) > 10


@pytest.mark.parametrize("sight", ["protanopia", "deuteranopia"])
def test_the_simulation_finds_colours_that_are_not_told_apart(sight):
    # A green and a brown of equal lightness: far apart for most, the same to the colour-blind.
    pair = {"protanopia": ("#8a7400", "#6b7a00"), "deuteranopia": ("#a86f00", "#7f8400")}[sight]
    assert nearest(pair, MACHADO["full"]) > 2 * nearest(pair, MACHADO[sight])


def test_dashes_differ_and_no_look_comes_twice_among_many_lines():
    assert len({str(dash) for dash in DASHES}) == len(DASHES)
    looks = [
        (OKABE_ITO[i % len(OKABE_ITO)], str(DASHES[i % len(DASHES)]))
        for i in range(len(OKABE_ITO) * len(DASHES))
    ]
    assert len(set(looks)) == len(looks)
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))
