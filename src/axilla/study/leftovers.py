"""What earlier runs left in a study's folder that is no longer of the study: told, never deleted.

Old figures beside new ones are taken for new ones, and a patient who withdrew should not stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from axilla.core import store
from axilla.core.config import StudyConfig
from axilla.core.methods import method_names
from axilla.core.naming import first_few
from axilla.core.slide_files import name_key
from axilla.core.table import read_table
from axilla.study.layout import Layout

_BY_SLIDE = {
    "patches": ("*.parquet",),
    "stain": ("*.json",),
    "features": ("*/*.h5",),
    "nuclei": ("*.parquet", "*.geojson", "*.png"),
    "attention": ("*.csv", "*.geojson"),
    "heatmaps": ("*.png", "*.ome.tif"),
    "audit": ("*.png",),
    "explained": ("*.html", "*.json", "*.svg", "*.csv", "learned-from/*"),
}
"""Files of one slide or patient in each folder; their names begin with its id."""
_WHOLE_NAMES = {
    "patches": "parquet", "stain": "json", "features": "h5", "attention": "csv", "audit": "png",
    "explained": "html",
}  # fmt: skip
"""Endings of files whose names are the id and nothing more: `Q01-2` there is a slide of its own."""
_ENDINGS = ("attention", "contribution", "patches", "outlined", "nuclei")
"""What files of other folders have after the id."""


def leftover_sentences(config: StudyConfig) -> list[str]:
    """Tell of models, figures and tables of dropped methods, and of slides no longer in the table.

    A patient who left the study with a reason is still in the table, and so no leftover.

    Parameters
    ----------
    config
        The whole study, whose last step has just been done.

    Returns
    -------
    list of str
        At most a sentence of either kind.
    """
    folders = tuple(dict.fromkeys(study.out for study in config.studies))
    return [
        *_methods_told([Layout(out) for out in folders], config),
        *_slides_told(tuple(dict.fromkeys((config.out, *folders))), config),
    ]


def _methods_told(layouts: Sequence[Layout], config: StudyConfig) -> list[str]:
    dropped = [name for name in method_names() if name not in config.methods]
    models = [
        (name, str(layout.models(name)))
        for name in dropped
        for layout in layouts
        if _holds_model(layout.models(name))
    ]
    figures = [whose for one in layouts for whose in _of_methods(one.figures, dropped, one)]
    tables = [whose for one in layouts for whose in _of_methods(one.tables, dropped, one)]
    modelled = list(dict.fromkeys(name for name, _ in models))
    found = []
    if models:
        found.append(
            f"models of {', '.join(modelled)} ({first_few([place for _, place in models])})"
        )
    files = [
        f"{len(whose):,} {what}{'s' if len(whose) > 1 else ''}"
        for what, whose in (("figure", figures), ("table", tables))
        if whose
    ]
    if files:
        named = [name for name in dropped if name in {*figures, *tables}]
        whose = "these" if named == modelled else ", ".join(named)
        found.append(f"{' and '.join(files)} of {whose}")
    if not found:
        return []
    return [
        f"left from earlier settings: {', '.join(found)}. Delete them if they are no longer wanted."
    ]


def _holds_model(folder: Path) -> bool:
    """Whether a method's folder holds its model, or those of its folds."""
    return any(folder.glob("model.json")) or any(folder.glob("*/model.json"))


def _of_methods(folder: Path, dropped: Sequence[str], layout: Layout) -> list[str]:
    """The method of each figure or table, however many endings it has, that is of a dropped one."""
    current = store.step_files(layout.out, "evaluate")
    found: dict[str, str] = {}
    for path in folder.glob("*_*"):
        stem = path.name.removesuffix(path.suffix)
        method = next((name for name in dropped if name in stem.split("_")), None)
        if method is not None and path.relative_to(layout.out).as_posix() not in current:
            found[stem] = method
    return list(found.values())


def _slides_told(folders: Sequence[Path], config: StudyConfig) -> list[str]:
    known = _in_table(config)
    files = [(kind, name) for out in folders for kind, name in _files(out)]
    gone = {
        stem
        for kind, name in files
        for stem, _, ending in [name.rpartition(".")]
        if _WHOLE_NAMES.get(kind) == ending and stem not in known
    }
    # What is of none of them either is told by its own name.
    named = known | gone
    gone |= {_first_name(name) for _, name in files if _owner(name, named) is None}
    if not gone:
        return []
    everybody = known | gone
    kinds = {kind for kind, name in files if _owner(name, everybody) in gone}
    where = ", ".join(kind for kind in _BY_SLIDE if kind in kinds)
    return [
        (
            f"left of slides that are no longer in the table: {first_few(sorted(gone))} ({where}): "
            "delete these files if the patient withdrew."
        )
    ]


def _in_table(config: StudyConfig) -> set[str]:
    """Ids of all patients and slides of the table, also of those who left the study."""
    table = read_table(config.cohort)
    columns = [name for name in ("patient_id", "slide_id") if name in table.columns]
    return {name_key(str(cell)) for name in columns for cell in table[name] if cell}


def _files(out: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of each file that is of one slide or patient."""
    for kind, patterns in _BY_SLIDE.items():
        for pattern in patterns:
            for path in (out / kind).glob(pattern):
                if not path.name.startswith("."):
                    yield kind, name_key(path.name)


def _owner(name: str, ids: set[str]) -> str | None:
    """The longest id that a file's name begins with, whole: `Q01-2.png` may be of Q01 or Q01-2."""
    ends = [len(name), *(i for i in range(len(name) - 1, 0, -1) if name[i] in "-.")]
    return next((name[:end] for end in ends if name[:end] in ids), None)


def _first_name(name: str) -> str:
    """The slide that a file is called after, as far as its name alone tells."""
    stem = name.removesuffix(".ome.tif")
    stem = stem if stem != name else (name.rpartition(".")[0] or name)
    return re.sub(f"-(?:{'|'.join(_ENDINGS)})(?:-[0-9]+)?$", "", stem)
