"""Bags that somebody gives instead of having them drawn: `bags: {file: bags.json}`.

The file holds one object: slide ids, each with its list of bags, each a list of patch names
(`core.patch_names`) without an ending: `{"981": [["981_0_256_1024", "981_1_768_512"]]}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from axilla.core.errors import CohortError
from axilla.core.patch_names import PatchName, parse_patch_name
from axilla.core.store import write_text

if TYPE_CHECKING:
    from pathlib import Path

GivenBags = Mapping[str, tuple[tuple[PatchName, ...], ...]]
"""Bags by slide id."""

MAX_BYTES = 256 * 1024**2


def read_bags(path: Path) -> GivenBags:
    """Read the bags of a study.

    Raises
    ------
    CohortError
        The file is missing, too large, or not as above; a bag is empty, names a patch twice, or
        names a patch of another slide.
    """
    content = read_json_once(path, remedy="Set `bags: {file: ...}` to the file of bags.")
    if not isinstance(content, dict) or not content:
        raise CohortError(
            "the file of bags holds no object of slides.",
            'Write {"<slide>": [["<slide>_<region>_<x>_<y>", ...], ...], ...}.',
            file=path,
        )
    return {slide: _bags_of(slide, bags, path) for slide, bags in content.items()}


def write_bags(path: Path, bags: GivenBags) -> None:
    """Write the bags of a study, a line a bag, so that two files can be compared."""
    slides = []
    for slide, given in bags.items():
        lines = [json.dumps([str(name) for name in bag], ensure_ascii=False) for bag in given]
        slides.append(f"{json.dumps(slide, ensure_ascii=False)}: [\n" + ",\n".join(lines) + "\n]")
    write_text(path, "{\n" + ",\n".join(slides) + "\n}\n")


def read_json_once(path: Path, *, remedy: str) -> Any:
    """Read a JSON file of data; a key that stands twice is an error, not the last one's win.

    Raises
    ------
    CohortError
        The file is missing, over 256 MB, no JSON, or names a key twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CohortError("the file is larger than 256 MB.", remedy, file=path)
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise CohortError(
            f"the file cannot be read ({error.strerror}).", remedy, file=path
        ) from error
    except (ValueError, RecursionError) as error:
        why = str(error).splitlines()[0] if str(error) else "nested too deep"
        raise CohortError(f"the file is not valid JSON ({why}).", remedy, file=path) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def _bags_of(slide: str, bags: Any, path: Path) -> tuple[tuple[PatchName, ...], ...]:
    lists = isinstance(bags, list) and all(isinstance(bag, list) and bag for bag in bags)
    if not lists or not bags:
        raise CohortError(
            f"slide {slide} has no list of bags, or an empty bag.",
            "Give each slide a list of bags, and each bag at least one patch.",
            file=path,
        )
    return tuple(_bag(slide, bag, path) for bag in bags)


def _bag(slide: str, bag: Sequence[Any], path: Path) -> tuple[PatchName, ...]:
    names = []
    for text in bag:
        name = parse_patch_name(text) if isinstance(text, str) else None
        if name is None or name.slide_id != slide:
            raise CohortError(
                f"a bag of slide {slide} names {text!r}, which is no patch of that slide.",
                f"Write {slide}_<region>_<x>_<y>, without an ending.",
                file=path,
            )
        names.append(name)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CohortError(
            f"a bag of slide {slide} names the patch {twice} twice.", "Name it once.", file=path
        )
    return tuple(names)
