"""Ellipses and rectangles drawn on pixels, to read the rectangularity of nuclei by.

    python -m axilla.nuclei.drawn_shapes OUT.json [--drawings 800000] [--seed 0]

Shapes of all sizes and slendernesses are drawn at random places of a pixel and in random
directions, and measured as nuclei are. The surface that fits their shares best, by what was
measured of each and not by what was meant, is what `axilla.nuclei.rectangularity` reads.
"""

from __future__ import annotations

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from axilla.nuclei.morphometry import SMALLEST_PX, axes
from axilla.nuclei.rectangularity import Surface, rectangle_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURFACE = Surface(steps=(0.2, 0.1), first=(3.2, 0.0), shape=(31, 17))
"""Axes of 5 to 100 px, and of up to 5 to 1."""
DRAWINGS = 800_000
_CROWDED = 1.5
"""Small shapes vary most, so most that are drawn are small."""
_SMOOTH = 0.3
"""Weight of the surface's curvature, in drawings: it matters where next to none were drawn."""


def drawn_shares(drawings: int, *, seed: int) -> list[list[list[float]]]:
    """Shares of ellipses and of rectangles on `SURFACE`, each [sizes][slendernesses]."""
    draw = partial(measured_shapes, drawings=drawings, seed=seed)
    with ProcessPoolExecutor() as processes:
        measured = processes.map(draw, ("ellipse", "rectangle"))
        return [np.round(fitted_surface(shapes), 5).tolist() for shapes in measured]


def measured_shapes(kind: str, drawings: int, *, seed: int) -> NDArray[np.float64]:
    """Log size, log slenderness and share of each shape that is drawn on `SURFACE`, [n, 3]."""
    rng = np.random.default_rng(seed)
    # A step beyond the surface on all sides: what is drawn there may be measured within it.
    largest, most_slender = (
        first + step * count
        for first, step, count in zip(SURFACE.first, SURFACE.steps, SURFACE.shape, strict=True)
    )
    smallest = SURFACE.first[0] - SURFACE.steps[0]
    sizes = smallest + (largest - smallest) * rng.random(drawings) ** _CROWDED
    rows = []
    for size, slenderness, turn, dx, dy in zip(
        sizes.tolist(),
        rng.uniform(0, most_slender, drawings).tolist(),
        rng.uniform(0, math.pi, drawings).tolist(),
        *rng.uniform(-0.5, 0.5, (2, drawings)).tolist(),
        strict=True,
    ):
        mask = _draw(kind, size, slenderness, turn, (dx, dy))
        y, x = np.nonzero(mask)
        if len(x) >= SMALLEST_PX:
            major, minor, _ = axes(x, y)
            rows.append((math.log(major * minor), math.log(major / minor), rectangle_share(mask)))
    drawn = np.array(rows)
    return drawn[SURFACE.holds(drawn[:, 0], drawn[:, 1])]


def _draw(
    kind: str, size: float, slenderness: float, turn: float, centre: tuple[float, float]
) -> NDArray[np.bool_]:
    """A shape of such second moments on a grid of pixels."""
    major, minor = math.exp((size + slenderness) / 2), math.exp((size - slenderness) / 2)
    reach = np.arange(-math.ceil(0.7 * major) - 2, math.ceil(0.7 * major) + 3)
    u, v = reach - centre[0], reach[:, None] - centre[1]
    along = np.abs(u * math.cos(turn) + v * math.sin(turn)) / major
    across = np.abs(v * math.cos(turn) - u * math.sin(turn)) / minor
    if kind == "ellipse":
        return np.asarray(along**2 + across**2 <= 1 / 4)
    half = math.sqrt(3) / 4  # of a rectangle's side, over the axis of its second moments
    return np.asarray((along <= half) & (across <= half))


def fitted_surface(measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """The surface through the shares by least squares, and smooth where there are few."""
    nodes, weights = SURFACE.corners(measured[:, 0], measured[:, 1])
    count, width = math.prod(SURFACE.shape), SURFACE.shape[1]
    places = sparse.csr_matrix(
        (weights.ravel(), (np.repeat(np.arange(len(nodes)), 4), nodes.ravel())),
        shape=(len(nodes), count),
    )
    bends = sparse.vstack([
        sparse.kron(_second_differences(SURFACE.shape[0]), sparse.identity(width)),
        sparse.kron(sparse.identity(SURFACE.shape[0]), _second_differences(width)),
    ])  # fmt: skip
    normal = places.T @ places + _SMOOTH * bends.T @ bends
    return np.asarray(spsolve(normal.tocsc(), places.T @ measured[:, 2])).reshape(SURFACE.shape)


def _second_differences(count: int) -> sparse.spmatrix:
    return sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(count - 2, count))


def main() -> None:
    """Draw, fit and write, as the docstring of this file says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--drawings", type=int, default=DRAWINGS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    ellipse, rectangle = drawn_shares(given.drawings, seed=given.seed)
    command = f"python -m axilla.nuclei.drawn_shapes OUT --drawings {given.drawings}"
    told = {
        "command": f"{command} --seed {given.seed}",
        "what": "share of the smallest rectangle, by log(major * minor) and log(major / minor), px",
        "steps": SURFACE.steps,
        "first": SURFACE.first,
        "ellipse": ellipse,
        "rectangle": rectangle,
    }
    rows = json.dumps(told).replace("], ", "],\n ")
    given.out.write_text(rows + "\n", "utf-8")


if __name__ == "__main__":
    main()
