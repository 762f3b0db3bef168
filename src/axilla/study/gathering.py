"""Gather: predictions of several files in one table, such as those of studies to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from axilla.core import store
from axilla.core.errors import StatisticsError


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """Predictions of all files."""

    frame: pd.DataFrame
    """As `predictions.csv`; every method is of one file."""
    name: str | None
    """The file's name without its ending, of a single one."""


def gather_predictions(sources: Sequence[str]) -> Gathered:
    """Read files of predictions into one table, the methods of each told apart by name.

    Parameters
    ----------
    sources
        Each a path, or `name=path`: the file's one method is then called so, whatever its column
        `method` says. Two studies that both call theirs `dl-cnb` are told apart in this way.

    Raises
    ------
    StoreError
        A file cannot be read.
    StatisticsError
        Two files have a method of one name, a name is given to several methods, or the files are
        not of the same columns.
    """
    files = [_split(source) for source in sources]
    frames = [_read(path, name) for name, path in files]
    paths = [path for _, path in files]
    _check_columns(frames, paths)
    _check_methods(frames, paths)
    one = paths[0].stem if len(paths) == 1 else None
    return Gathered(pd.concat(frames, ignore_index=True), one)


def _split(source: str) -> tuple[str | None, Path]:
    """Name and path; a file that is there may have an equals sign in its own name."""
    name, equals, path = source.partition("=")
    if not equals or Path(source).is_file():
        return None, Path(source)
    if not name.strip() or not path.strip():
        raise StatisticsError(
            f"`{source}` names no method or no file.",
            "Write a method's name, an equals sign and a path, such as vgg16_bn=predictions.csv.",
        )
    return name.strip(), Path(path.strip())


def _read(path: Path, name: str | None) -> pd.DataFrame:
    frame = store.read_predictions(path)
    if name is None:
        return frame
    methods = frame["method"].dropna().unique()
    if len(methods) > 1:
        raise StatisticsError(
            f"{path.name} holds {len(methods)} methods ({', '.join(map(str, methods))}), which "
            f"cannot all be called {name}.",
            "Give the file without a name, or one with a single method.",
        )
    return frame.assign(method=name)


def _check_columns(frames: Sequence[pd.DataFrame], paths: Sequence[Path]) -> None:
    """Scores of the same classes, and folds in all or in none."""
    first = _shape(frames[0])
    for frame, path in zip(frames[1:], paths[1:], strict=True):
        for what in set(first) ^ set(_shape(frame)):
            having, lacking = (paths[0], path) if what in first else (path, paths[0])
            raise StatisticsError(
                f"{having.name} has a column `{what}`, {lacking.name} has none.",
                "Compare predictions of one endpoint and one kind of split.",
            )
        if first != _shape(frame):
            raise StatisticsError(
                f"{path.name} has its classes in another order than {paths[0].name}.",
                f"Write the columns as {', '.join(first)}.",
            )


def _shape(frame: pd.DataFrame) -> list[str]:
    return [
        str(name)
        for name in frame.columns
        if name in {"score", "repeat", "fold"} or str(name).startswith("score_")
    ]


def _check_methods(frames: Sequence[pd.DataFrame], paths: Sequence[Path]) -> None:
    owner: dict[str, Path] = {}
    for frame, path in zip(frames, paths, strict=True):
        for method in frame["method"].dropna().unique():
            if method in owner:
                raise StatisticsError(
                    f"{owner[method].name} and {path.name} both have a method called {method}.",
                    "Tell them apart: a method's name, an equals sign, then the path, such as "
                    f"--predictions {method}-2={path.name}.",
                )
            owner[str(method)] = path
