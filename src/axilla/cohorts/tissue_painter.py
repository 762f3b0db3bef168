"""One generated H&E slide: optical densities of haematoxylin and eosin turned into colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from axilla.cohorts.nuclei_stamps import NucleiCanvas, Seeds, stamp_nuclei
from axilla.cohorts.tissue_layout import (
    Layout,
    TumourGrid,
    draw_layout,
    outline_mask,
    tumour_grid,
)

if TYPE_CHECKING:
    from axilla.cohorts.synthetic_config import SyntheticConfig

Plane = NDArray[np.float32]
"""A value a pixel, [H, W]."""

CELL = 4
"""Side in pixels of the cells that nuclear densities are held in."""
STAINS = np.array([[0.585, 0.715, 0.375], [0.2159, 0.8012, 0.5581]])
"""Haematoxylin and eosin, optical density (natural log) of red, green, blue.

Eosin of Macenko 2009; haematoxylin between Macenko's and the bluer one of Ruifrok 2001.
"""
GLASS = np.array([0.036, 0.040, 0.044])
"""Optical density of glass and mounting medium: about 246, 245, 244."""


@dataclass(frozen=True, slots=True, eq=False)
class PaintedSlide:
    """A slide and all that is known about it.

    `image` uint8 [H, W, 3] RGB; `inst_map` int32 [H, W], 0 or the number of the nucleus; `kinds`
    uint8 [n], the kind of nucleus 1 to n as an index into `NUCLEUS_KINDS`.
    """

    image: NDArray[np.uint8]
    layout: Layout
    grid: TumourGrid
    inst_map: NDArray[np.int32]
    kinds: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class _Tissue:
    """What lies where, before nuclei; planes [H, W]."""

    presence: Plane
    """1 in tissue, 0 on glass and in vacuoles, soft at the edges."""
    tumour: NDArray[np.uint8]
    nests: Plane
    """1 in nests of tumour cells, 0 in stroma."""
    fibres: Plane
    fibre_angle: Plane
    fat: Plane
    """1 where fat replaces stroma."""


def paint_slide(
    rng: np.random.Generator, *, witness_share: float, config: SyntheticConfig
) -> PaintedSlide:
    """Paint one slide.

    Layout, stain, stroma, fat and texture have random streams of their own, so that
    `witness_share` changes nothing but the nuclei within the tumour outlines.

    Parameters
    ----------
    rng : numpy.random.Generator
        Only its seed sequence is used (it is spawned from).
    witness_share : float
        Share of the tumour patches that are witnesses, 0 to 1.
    config : SyntheticConfig

    Returns
    -------
    PaintedSlide
    """
    layout_rng, grid_rng, tissue_rng, stroma_rng, tumour_rng, colour_rng = rng.spawn(6)
    layout = draw_layout(layout_rng, config=config)
    grid = tumour_grid(layout.tumours, witness_share=witness_share, rng=grid_rng, config=config)
    tissue = _lay_tissue(tissue_rng, layout, config=config)
    canvas = NucleiCanvas.empty(config.shape)
    _stamp_stroma(canvas, tissue, rng=stroma_rng, config=config)
    _stamp_tumour(canvas, tissue, grid, rng=tumour_rng, config=config)
    return PaintedSlide(
        image=_develop(canvas, tissue, rng=colour_rng, config=config),
        layout=layout,
        grid=grid,
        inst_map=canvas.inst_map,
        kinds=np.array(canvas.kinds, dtype=np.uint8),
    )


def _noise(rng: np.random.Generator, shape: tuple[int, int], *, scale: float) -> Plane:
    """Smooth noise [H, W] of unit variance, features about `scale` pixels apart."""
    height, width = (int(np.ceil(side / scale)) + 3 for side in shape)
    grid = rng.standard_normal((height, width), dtype=np.float32) * np.float32(1.45)
    plane = cv2.resize(
        grid, (int(width * scale) + 1, int(height * scale) + 1), interpolation=cv2.INTER_CUBIC
    )
    top, left = (int(scale * start) for start in rng.random(2))
    return plane[top : top + shape[0], left : left + shape[1]].astype(np.float32, copy=False)


def _ramp(plane: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, straight in between."""
    ramp: Plane = np.clip((plane - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return ramp


def _lay_tissue(rng: np.random.Generator, layout: Layout, *, config: SyntheticConfig) -> _Tissue:
    shape, px = config.shape, 1 / config.mpp
    cores = outline_mask(layout.cores, config=config)
    tumour = outline_mask(layout.tumours, config=config)
    edge = _softened(cores)
    ragged = edge + np.float32(0.5) * _noise(rng, shape, scale=7 * px) * edge * (1 - edge)
    presence = _ramp(ragged, 0.42, 0.58)
    inside = _softened(tumour)
    fine = _noise(rng, shape, scale=16 * px)
    lobes = _noise(rng, shape, scale=42 * px) + np.float32(0.45) * fine
    nests = _ramp(lobes, -0.85, -0.45)
    presence *= 1 - _clefts(rng, nests * (inside > 0.95), config=config)
    nests *= _ramp(inside + np.float32(0.12) * fine, 0.5, 0.7)
    fat = _ramp(_noise(rng, shape, scale=130 * px), 0.35, 0.6) * _ramp(-inside, -0.1, -0.02)
    presence *= _vacuoles(rng, fat, tumour, config=config)
    fibres, angle = _fibres(rng, config=config)
    return _Tissue(presence, tumour, nests, fibres, angle, fat)


def _softened(mask: NDArray[np.uint8]) -> Plane:
    """The mask with its edges blurred over some ten pixels, 0 to 1."""
    blurred = cv2.blur(cv2.blur(mask * np.uint8(255), (9, 9)), (9, 9))
    softened: Plane = blurred * np.float32(1 / 255)
    return softened


def _fibres(rng: np.random.Generator, *, config: SyntheticConfig) -> tuple[Plane, Plane]:
    """Wavy collagen: noise drawn out along curved lines, and the direction of those lines."""
    shape, px = config.shape, 1 / config.mpp
    lean = rng.uniform(-0.6, 0.6)
    bend = _noise(rng, shape, scale=110 * px) * np.float32(22 * px)
    y, x = np.ogrid[: shape[0], : shape[1]]
    across = (y * np.cos(lean)).astype(np.float32) - (x * np.sin(lean)).astype(np.float32) + bend
    along = (x * np.cos(lean)).astype(np.float32) + (y * np.sin(lean)).astype(np.float32) - bend
    source = rng.standard_normal((256, 128), dtype=np.float32)
    fibres = np.zeros(shape, dtype=np.float32)
    for length, thickness, weight in ((38, 2.6, 0.6), (90, 8.0, 0.7)):
        fibres += np.float32(weight) * cv2.remap(
            source,
            along * np.float32(config.mpp / length),
            across * np.float32(config.mpp / thickness),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
    slope_y, slope_x = np.gradient(across[::CELL, ::CELL])
    return fibres, np.arctan2(-slope_x, slope_y).astype(np.float32)


def _vacuoles(
    rng: np.random.Generator, fat: Plane, tumour: NDArray[np.uint8], *, config: SyntheticConfig
) -> Plane:
    """0 within fat cells and a few holes of the tumour, 1 elsewhere, [H, W]."""
    px = 1 / config.mpp
    wall = 1.6 * px
    places = np.argwhere(fat[::CELL, ::CELL] > 0.3)[:, ::-1] * CELL
    tried = places[rng.permutation(len(places))[:1500]] + rng.uniform(0, CELL, (1, 2))
    biggest = rng.uniform(11, 24, len(tried)) * px
    kept = np.zeros((len(tried), 3))
    count = 0
    for centre, limit in zip(tried, biggest, strict=True):
        room = limit
        if count:
            others = kept[:count]
            away = np.hypot(others[:, 0] - centre[0], others[:, 1] - centre[1]) - others[:, 2]
            room = min(limit, away.min() - wall)
        if room > 4 * px:
            kept[count] = (*centre, room)
            count += 1
    holes = np.argwhere(tumour[::CELL, ::CELL])[:, ::-1] * CELL
    few = holes[rng.integers(0, len(holes), rng.poisson(6))]
    radius = rng.uniform(4, 9, len(few)) * px
    mask = np.full(config.shape, 255, dtype=np.uint8)
    for x, y, r in (*kept[:count], *np.column_stack([few, radius])):
        centre_16 = (round(x * 16), round(y * 16))
        cv2.circle(mask, centre_16, round(r * 16), 0, -1, cv2.LINE_AA, 4)
    scaled: Plane = mask * np.float32(1 / 255)
    return scaled


def _clefts(rng: np.random.Generator, nests: Plane, *, config: SyntheticConfig) -> Plane:
    """1 in the thin retraction spaces that some nests have around them, [H, W]."""
    px = 1 / config.mpp
    rim = np.float32(1) - np.abs(nests * np.float32(2) - np.float32(1))
    some = _ramp(_noise(rng, nests.shape[:2], scale=60 * px), 0.9, 1.3)
    return np.float32(0.8) * some * _ramp(rim, 0.5, 0.9)


def _sow(rng: np.random.Generator, density_mm2: Plane, *, mpp: float) -> NDArray[np.float64]:
    """Draw points (x, y) [n, 2] of a Poisson process; the density is a value a `CELL`."""
    expected = density_mm2.astype(np.float64).ravel() * (1e-6 * mpp**2 * CELL**2)
    cumulated = np.cumsum(expected)
    count = int(rng.poisson(cumulated[-1]))
    cells = np.searchsorted(cumulated, rng.uniform(0, cumulated[-1], count), side="right")
    rows, columns = np.divmod(np.minimum(cells, len(expected) - 1), density_mm2.shape[1])
    corners = np.column_stack([columns, rows]) * CELL
    points: NDArray[np.float64] = corners + rng.uniform(0, CELL, (count, 2))
    return points


def _at(plane: NDArray[np.float32], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a plane of `CELL`s under points (x, y)."""
    column, row = (xy // CELL).astype(np.int64).T
    values: NDArray[np.float64] = plane[row, column].astype(np.float64)
    return values


def _stamp_stroma(
    canvas: NucleiCanvas, tissue: _Tissue, *, rng: np.random.Generator, config: SyntheticConfig
) -> None:
    """Fibroblasts along the fibres, and lymphocytes scattered and in crowds."""
    px2 = 1 / config.mpp**2
    small = (slice(None, None, CELL), slice(None, None, CELL))
    stroma = (tissue.presence * (1 - tissue.nests) * (1 - tissue.fat * np.float32(0.7)))[small]
    allowed = (tissue.presence > 0.8).astype(np.uint8)
    xy = _sow(rng, stroma * np.float32(1500), mpp=config.mpp)
    n = len(xy)
    fibroblasts = Seeds(
        xy=xy,
        area=rng.lognormal(np.log(25), 0.25, n) * px2,
        aspect=rng.uniform(2.0, 4.0, n),
        angle=_at(tissue.fibre_angle, xy) + rng.normal(0, 0.2, n),
        darkness=rng.uniform(1.0, 1.6, n),
    )
    stamp_nuclei(canvas, fibroblasts, kind="stroma", allowed=allowed, rng=rng)
    crowd = _ramp(_noise(rng, config.shape, scale=55 / config.mpp)[small], 1.25, 1.8)
    xy = _sow(rng, stroma * (np.float32(120) + np.float32(5500) * crowd), mpp=config.mpp)
    n = len(xy)
    lymphocytes = Seeds(
        xy=xy,
        area=rng.lognormal(np.log(27), 0.12, n) * px2,
        aspect=rng.uniform(1.0, 1.2, n),
        angle=rng.uniform(0, np.pi, n),
        darkness=rng.uniform(1.6, 2.1, n),
    )
    stamp_nuclei(canvas, lymphocytes, kind="lymphocyte", allowed=allowed, rng=rng)


def _stamp_tumour(
    canvas: NucleiCanvas,
    tissue: _Tissue,
    grid: TumourGrid,
    *,
    rng: np.random.Generator,
    config: SyntheticConfig,
) -> None:
    """Tumour nuclei: by `config.witness` in witness patches, by `config.tumour` elsewhere."""
    own_density, own_area = np.exp(rng.normal(0, [config.density_sd, config.area_sd]))
    small = (slice(None, None, CELL), slice(None, None, CELL))
    cluster = np.zeros(config.shape, dtype=np.uint8)
    for (x, y), number in zip(grid.xy.tolist(), grid.cluster.tolist(), strict=True):
        cluster[y : y + config.patch, x : x + config.patch] = number
    density = np.where(cluster, config.witness.density_mm2, config.tumour.density_mm2)[small]
    nests = tissue.nests[small] * np.float32(1.2) * (tissue.presence[small] > 0.5)
    uneven = np.exp(np.float32(0.12) * _noise(rng, config.shape, scale=90 / config.mpp)[small])
    xy = _sow(rng, (density * own_density * nests * uneven).astype(np.float32), mpp=config.mpp)
    number = cluster[tuple(xy.astype(np.int64).T[::-1])]
    law = [np.where(number, w, t) for w, t in zip(*_laws(config), strict=True)]
    n = len(xy)
    swirl = np.arctan(_noise(rng, config.shape, scale=70 / config.mpp)[small] * np.float32(0.6))
    direction = rng.uniform(0, np.pi, int(cluster.max()) + 1)[number] + _at(swirl, xy)
    area = law[0] * own_area / config.mpp**2
    seeds = Seeds(
        xy=xy,
        area=area * rng.lognormal(-0.02, 0.2, n),
        aspect=1 + (law[1] - 1) * rng.lognormal(-0.06, 0.35, n),
        angle=direction + rng.vonmises(0, law[2], n) / 2,
        darkness=rng.uniform(1.25, 1.95, n),
    )
    allowed = tissue.tumour * (tissue.presence > 0.8)
    stamp_nuclei(canvas, seeds, kind="tumour", allowed=allowed, rng=rng)


def _laws(config: SyntheticConfig) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (law.area_um2, law.aspect, law.polarity) for law in (config.witness, config.tumour)
    )


def _develop(
    canvas: NucleiCanvas, tissue: _Tissue, *, rng: np.random.Generator, config: SyntheticConfig
) -> NDArray[np.uint8]:
    """Turn concentrations into colour by Beer and Lambert, I = 255 exp(-OD); uint8 [H, W, 3]."""
    shape, px = config.shape, 1 / config.mpp
    grain = rng.standard_normal(shape, dtype=np.float32)
    chromatin = cv2.GaussianBlur(grain, (0, 0), 0.9)
    mottle = _noise(rng, shape, scale=5 * px)
    uneven = _noise(rng, shape, scale=150 * px)
    nests = tissue.nests
    stroma_eosin = np.clip(0.76 + 0.15 * tissue.fibres + 0.06 * uneven, 0.2, 1.2)
    stroma_eosin *= 1 - np.float32(0.6) * tissue.fat
    nest_eosin = 0.62 + 0.07 * mottle
    eosin = tissue.presence * (stroma_eosin + nests * (nest_eosin - stroma_eosin))
    ground = tissue.presence * (0.03 + nests * (0.26 + 0.05 * mottle + 0.03 * uneven))
    nuclei = canvas.haematoxylin * (1 + np.float32(0.5) * chromatin)
    haematoxylin = np.maximum(ground, nuclei)
    eosin *= 1 - np.float32(0.3) * np.minimum(canvas.haematoxylin, 1)
    strength = np.exp(rng.normal(0, config.stain_sd, 2))
    vectors = np.clip(STAINS + rng.normal(0, config.stain_sd / 3, (2, 3)), 0.02, None)
    vectors *= (strength * np.linalg.norm(STAINS, axis=1) / np.linalg.norm(vectors, axis=1))[
        :, None
    ]
    glass = GLASS * np.exp(rng.normal(0, config.stain_sd / 2))
    colours = np.column_stack([vectors.T, glass]).astype(np.float32)
    planes = cv2.merge([haematoxylin, eosin, np.ones(shape, dtype=np.float32)])
    light = np.exp(cv2.transform(planes, -colours))
    light *= np.float32(255)
    light += np.float32(1.6) * grain[..., None]
    np.clip(light, 0, 253, out=light)
    image = cv2.GaussianBlur(light.astype(np.uint8), (3, 3), 0.55).astype(np.uint8, copy=False)
    cv2.putText(
        image, "GENERATED", (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (120, 120, 128), 1, cv2.LINE_AA
    )
    return image
