"""`patches/<slide>.parquet`: one row a kept patch, the counts of the dropped in its metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from axilla.core.errors import StoreError
from axilla.core.store.atomic import atomic_path
from axilla.core.store.records import SCHEMA_VERSION
from axilla.core.types import MicronsPerPixel, PatchGrid, SlidePixels

if TYPE_CHECKING:
    from pathlib import Path

_META = b"axilla"
_UNREADABLE = (pa.ArrowException, OSError, KeyError, ValueError, TypeError)
"""What pyarrow raises for a file that is not whole, and we for one that is not ours."""


def write_grid(path: Path, grid: PatchGrid, *, key: str) -> None:
    """Write the patches of one slide."""
    meta = {
        "schema": SCHEMA_VERSION,
        "key": key,
        "slide_id": grid.slide_id,
        "size_level0": int(grid.size_level0),
        "dropped": grid.dropped,
        "mpp": grid.mpp,
        "repaired": grid.repaired,
    }
    table = pa.table(
        {
            "region": pa.array(grid.region, pa.int32()),
            "x": pa.array(grid.xy[:, 0], pa.int32()),
            "y": pa.array(grid.xy[:, 1], pa.int32()),
            "white_share": pa.array(grid.white_share, pa.float32()),
        }
    ).replace_schema_metadata({_META: json.dumps(meta).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_grid_key(path: Path) -> str | None:
    """Key of the step that wrote the file; None where there is none of this schema."""
    if not path.is_file():
        return None
    try:
        meta = _meta(pq.read_schema(path))
    except _UNREADABLE:
        return None
    return str(meta.get("key")) if meta.get("schema") == SCHEMA_VERSION else None


def read_grid(path: Path) -> PatchGrid:
    """Read the patches of one slide.

    Raises
    ------
    StoreError
        The file is missing, damaged or of another schema.
    """
    try:
        table = pq.read_table(path)
        meta = _meta(table.schema)
        if meta["schema"] != SCHEMA_VERSION:
            raise ValueError("another schema")
        return _grid(table, meta)
    except _UNREADABLE as error:
        raise StoreError(
            "the table of patches is missing, damaged or of another version.",
            "Delete the file and run `axilla tile study.yaml`.",
            file=path,
        ) from error


def _grid(table: pa.Table, meta: dict[str, Any]) -> PatchGrid:
    x, y = (table.column(name).to_numpy() for name in ("x", "y"))
    return PatchGrid(
        slide_id=str(meta["slide_id"]),
        region=table.column("region").to_numpy(),
        xy=np.stack([x, y], axis=1).astype(np.int32),
        white_share=table.column("white_share").to_numpy(),
        size_level0=SlidePixels(int(meta["size_level0"])),
        dropped=int(meta["dropped"]),
        mpp=None if meta["mpp"] is None else MicronsPerPixel(float(meta["mpp"])),
        repaired=int(meta.get("repaired", 0)),
    )


def _meta(schema: pa.Schema) -> dict[str, Any]:
    value = json.loads((schema.metadata or {}).get(_META, b"{}"))
    return dict(value)
