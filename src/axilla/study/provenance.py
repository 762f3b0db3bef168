"""Which files a report was made from: their SHA-256, so that a report can be tied to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from axilla.core import store
from axilla.report.contents import Part, Table
from axilla.study.fitting import Fitting
from axilla.study.layout import Layout

MOST_MODELS = 40
"""With more models than this, the models of a method are told by one digest of them all."""
_FILES = {
    "split.csv": "Who is in which cohort",
    "exclusions.csv": "Who left the study, and why",
    "predictions.csv": "Scores of all patients",
    "metrics.json": "All figures in full precision",
}


def provenance(fitting: Fitting) -> Part:
    """The part of the report that names the study's files and their digests.

    Paths are relative to the report; the cohort's table is named without its folder. Nothing of
    the files but names and digests is told.
    """
    layout = Layout(fitting.config.out)
    table = fitting.config.cohort
    rows = [("Cohort table, as it was read", table.name, _sha256(table))]
    rows += [
        (what, name, _sha256(layout.out / name))
        for name, what in _FILES.items()
        if (layout.out / name).is_file()
    ]
    rows += _models(fitting, layout)
    return Part(
        anchor="files",
        title="Files and their digests",
        after="settings",
        paragraphs=(
            (
                "This report belongs to the files with these SHA-256 digests, and to no others: "
                "`sha256sum` prints the same for a file that was not changed. Paths are relative "
                "to the report's folder."
            ),
        ),
        tables=(
            Table(
                title="Files and their SHA-256",
                columns=("What", "File", "SHA-256"),
                rows=tuple(rows),
                csv_name="files.csv",
                number_columns=(),
                listed=True,
            ),
        ),
        folded=True,
        numbered=False,
    )


def _models(fitting: Fitting, layout: Layout) -> Iterator[tuple[str, str, str]]:
    """Each bundle's record and weights; of very many, a digest over all of a method's."""
    many = len(fitting.config.methods) * len(fitting.partitions) > MOST_MODELS
    for method in fitting.config.methods:
        folders = [layout.model(method, p.name) for p in fitting.partitions]
        if len(fitting.partitions) > 1:
            folders.append(layout.ensemble(method))
        records = [f / "model.json" for f in folders if (f / "model.json").is_file()]
        if many:
            yield _together(method, records, layout)
            continue
        for path in records:
            name = path.relative_to(layout.out).as_posix()
            weights = store.read_model_record(path.parent)["weights_sha256"]
            yield f"Model {method}: record", name, _sha256(path)
            yield (
                f"Model {method}: weights",
                name.replace("model.json", "model.safetensors"),
                str(weights),
            )


def _together(method: str, records: list[Path], layout: Layout) -> tuple[str, str, str]:
    """One digest of many records, which a shell can compute as well."""
    listed = sorted((path.relative_to(layout.out).as_posix(), path) for path in records)
    lines = "".join(f"{_sha256(path)}  {name}\n" for name, path in listed)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return (
        f"Models {method}: {len(listed)} records, each with its weights' digest",
        f"models/{method}/**/model.json: SHA-256 of the lines of sha256sum, sorted by path",
        digest,
    )


def _sha256(path: Path) -> str:
    return store.file_identity(path, content=True)
