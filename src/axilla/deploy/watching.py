"""Watch a scanner's output folder: each new case once, whatever happens to the machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from axilla.core import store
from axilla.core.errors import AxillaError, CohortError, InputProblems, StoreError, WriteError
from axilla.core.progress import Reporter
from axilla.core.slide_files import (
    IMAGE_SUFFIXES,
    files_of,
    first_of_series,
    is_file_name,
)
from axilla.deploy.case_inputs import (
    FEATURE_SUFFIXES,
    CaseInput,
    Regions,
    read_values,
    slide_name,
)
from axilla.deploy.loading import LoadedModel
from axilla.deploy.predicting import RECORD, predict_case, write_case

LEDGER = ".axilla-watch"
"""Folder in the output folder: a small record for each case that is done."""
PAUSE_S = 5.0
"""Between two looks at the folder."""
SETTLED_S = 10.0
"""Files that did not change for so long are no longer being written."""
Outcome = Literal["done", "doubtful", "failed"]
PUBLISHING = "publishing"
"""The outcome of a case whose results are being written; case.json comes last."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched, and where the results go."""

    folder: Path
    """Where the scanner writes: `<case>.<slide's suffix>`, perhaps `<case>.geojson`, .xml or
    `<case>.annotation.json`, and `<case>.json` of clinical values."""
    out: Path
    regions: Regions = "auto"
    mpp: float | None = None
    settled_s: float = SETTLED_S
    pause_s: float = PAUSE_S


@dataclass(frozen=True, slots=True)
class Handled:
    """A case that was looked at now."""

    name: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A case as its files lie in the folder."""

    name: str
    slides: tuple[Path, ...]
    annotations: tuple[Path, ...]
    values: Path | None

    def files(self) -> tuple[Path, ...]:
        slides = (first_of_series(path) or path for path in self.slides)
        own = (*slides, *self.annotations, *([] if self.values is None else [self.values]))
        return tuple(file for path in own for file in files_of(path))

    def identity(self) -> str:
        """What tells that any of its files changed."""
        return store.digest([store.file_identity(path) for path in self.files()])


def watch_folder(
    model: LoadedModel,
    watch: Watch,
    *,
    reporter: Reporter,
    once: bool = False,
    on_handled: Callable[[Handled], None] | None = None,
) -> tuple[Handled, ...]:
    """Predict every case that comes into a folder, into `out/<case>/`.

    A case is taken once its files have not changed for `settled_s`. Its results are whole when its
    case.json is there, which comes last, and the ledger says before and after that this is so:
    killed at any moment and started again, no case is lost and none comes out twice. A case whose
    files are wrong is in the ledger with the reason, and tried again only when a file of it
    changes; so is a case done before.

    Parameters
    ----------
    once
        Look once, and return; else never return.
    on_handled
        Is told of each case.

    Returns
    -------
    tuple
        With `once`, the cases that were handled now.

    Raises
    ------
    BusyError
        Another watcher writes into the same folder.
    CohortError
        There is no such folder, or it lies within the output folder or holds it.
    WriteError
        Results cannot be written: the disk is full. Nothing is lost, start again.
    """
    _refuse_folders(watch)
    handled: list[Handled] = []
    with store.locked(watch.out):
        store.sweep(watch.out)
        while True:
            for found in _settled(watch):
                one = _handle(model, watch, found)
                if one is None:
                    continue
                handled.append(one)
                told = f": {one.reason}" if one.reason else ""
                reporter.say(f"{one.outcome:<9} {one.name}{told}")
                if on_handled is not None:
                    on_handled(one)
            if once:
                return tuple(handled)
            handled.clear()  # a year of cases need not be held
            time.sleep(watch.pause_s)


def _refuse_folders(watch: Watch) -> None:
    folder, out = watch.folder.resolve(), watch.out.resolve()
    if not folder.is_dir():
        raise CohortError("there is no such folder.", "Give the scanner's.", file=watch.folder)
    if out == folder or folder.is_relative_to(out):
        raise CohortError(
            "the results would lie among the slides.",
            "Give another folder with --out.",
            file=watch.out,
        )


def _settled(watch: Watch) -> Iterator[_Found]:
    """Cases whose files are no longer being written, the oldest first."""
    cases = sorted(_cases(watch), key=lambda found: (_newest(found), found.name))
    for found in cases:
        if time.time() - _newest(found) >= watch.settled_s:
            yield found


def _newest(found: _Found) -> float:
    """When a file of it changed last; never yet where one is gone just now."""
    try:
        return max(path.stat().st_mtime for path in found.files())
    except OSError:
        return float("inf")


def _cases(watch: Watch) -> Iterator[_Found]:
    suffixes = (*IMAGE_SUFFIXES, *FEATURE_SUFFIXES)
    entries = {path.name: path for path in sorted(watch.folder.iterdir())}
    slides: dict[str, list[Path]] = {}
    for path in entries.values():
        if path.name.startswith("."):
            continue
        if first_of_series(path) is not None:
            slides.setdefault(path.name, []).append(path)
        elif path.suffix.lower() in suffixes and path.is_file():
            slides.setdefault(slide_name(path, regions=watch.regions), []).append(path)
    for name, paths in slides.items():
        outlines = [f"{name}.annotation.json", f"{name}.geojson", f"{name}.xml"]
        annotations = tuple(entries[outline] for outline in outlines if outline in entries)
        yield _Found(name, tuple(paths), annotations, entries.get(f"{name}.json"))


def _handle(model: LoadedModel, watch: Watch, found: _Found) -> Handled | None:
    """Do a case that the ledger does not hold as its files are now; None where it does."""
    try:
        before = found.identity()
    except OSError:
        return None  # gone, or going: it is looked at again
    key = store.digest("watch", before, model.record["weights_sha256"], watch.regions, watch.mpp)
    entry = _Entry(_ledger(watch, found), key, found.name)
    known = entry.read()
    if known is not None and known["outcome"] != PUBLISHING:
        return None
    record = watch.out / found.name / RECORD
    if known is not None and _sha256(record) == known.get("record_sha256"):
        # Killed when the results were whole, before it could be written that they are.
        return entry.close("doubtful" if known.get("doubtful") else "done")
    try:
        result = predict_case(model, _case(watch, found))
        if found.identity() != before:
            return None  # written on meanwhile: it is taken when it has settled
    except WriteError:
        raise
    except (AxillaError, OSError) as error:
        record.unlink(missing_ok=True)  # of an earlier slide of this name
        return entry.close("failed", _reason(error))
    record.unlink(missing_ok=True)
    sha = store.text_digest(result.json)
    entry.write(PUBLISHING, doubtful=result.doubtful, record_sha256=sha)
    write_case(result, record.parent)
    return entry.close("doubtful" if result.doubtful else "done")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A case in the ledger."""

    path: Path
    key: str
    """Of its files, the model and how it is asked."""
    name: str

    def read(self) -> dict[str, Any] | None:
        """What it says of the files as they are; None where it says nothing of them."""
        try:
            value = store.read_json(self.path)
        except StoreError:
            return None
        here = isinstance(value, dict) and value.get("key") == self.key and "outcome" in value
        return dict(value) if here else None

    def write(self, outcome: str, **more: Any) -> None:
        told = {"schema": store.SCHEMA_VERSION, "key": self.key, "case": self.name}
        store.write_json(self.path, {**told, "outcome": outcome, **more})

    def close(self, outcome: Outcome, reason: str = "") -> Handled:
        self.write(outcome, reason=reason)
        return Handled(self.name, outcome, reason)


def _sha256(path: Path) -> str | None:
    return store.file_identity(path, content=True) if path.is_file() else None


def _case(watch: Watch, found: _Found) -> CaseInput:
    if not is_file_name(found.name) or found.name.startswith("."):
        raise CohortError(
            "the slide's name cannot be a folder's.", "Rename it.", file=found.slides[0]
        )
    clinical: dict[str, Any] = {} if found.values is None else read_values(found.values)
    if len(found.slides) > 1 and watch.regions != "whole":
        raise CohortError(
            f"several slides are named {found.name}: "
            f"{', '.join(path.name for path in found.slides)}.",
            "Keep one of them.",
            file=watch.folder,
        )
    return CaseInput(
        slides=found.slides,
        annotations=found.annotations,
        clinical=clinical,
        patient_id=found.name,
        regions=watch.regions,
        mpp=watch.mpp,
    )


def _ledger(watch: Watch, found: _Found) -> Path:
    # A name may be as long as a file's may be, so that nothing can be added to it.
    name = hashlib.sha256(found.name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return watch.out / LEDGER / f"{name}.json"


def _reason(error: AxillaError | OSError) -> str:
    """What is wrong, in a line."""
    if not isinstance(error, AxillaError):
        return f"a file cannot be read ({error.strerror or error})."
    problems = error.problems if isinstance(error, InputProblems) else (error.problem,)
    return " ".join(f"{problem.cause} {problem.remedy}" for problem in problems)


def ledger(out: Path) -> tuple[dict[str, Any], ...]:
    """All that was handled into a folder: case, outcome and reason, by name."""
    folder = out / LEDGER
    found = [store.read_json(path) for path in sorted(folder.glob("*.json"))]
    return tuple(sorted(found, key=lambda entry: str(entry.get("case"))))
