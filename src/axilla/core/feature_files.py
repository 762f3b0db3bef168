"""Finding the file of features of a slide that was encoded elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.core.errors import CohortError
from axilla.core.slide_files import belongs, entries, name_key
from axilla.core.types import Slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from axilla.core.config_encoder import ImportedFeatures

_SHOWN_FOLDERS = 5


class FeatureFinder:
    """The folder of features; a slide's file has the slide's id as its name."""

    def __init__(self, config: ImportedFeatures) -> None:
        if not config.folder.is_dir():
            raise CohortError(
                "there is no such folder.",
                "Set `features:` to the folder of features.",
                file=config.folder,
            )
        self.folder = config.folder
        self.suffixes = {"auto": (".h5", ".pt"), "pt": (".pt",)}.get(config.format, (".h5",))
        self.owner: dict[str, str] = {}
        self.files: dict[str, list[Path]] = {}
        for path in entries(config.folder):
            if path.suffix in self.suffixes and path.is_file():
                self.files.setdefault(name_key(path.stem), []).append(path)
        if not self.files:
            self._refuse_parent()

    def _refuse_parent(self) -> None:
        """Raise CohortError where not the folder itself, but folders in it, hold features.

        CLAM writes `h5_files` and `pt_files`, TRIDENT a folder for each encoder.
        """
        inside = [
            folder.name
            for folder in entries(self.folder)
            if folder.is_dir() and any(path.suffix in self.suffixes for path in entries(folder))
        ]
        if inside:
            raise CohortError(
                "the folder holds no features itself, but the folders in it do: "
                f"{', '.join(inside[:_SHOWN_FOLDERS])}.",
                "Set `features:` to one of these.",
                file=self.folder,
            )

    def slide(
        self,
        patient_id: str,
        slide_id: str,
        named: str,  # noqa: ARG002 - the column names an image, and none is read here
        problem: Callable[..., None],
    ) -> Slide | None:
        """The slide with its file of features, or None with a problem said."""
        if not belongs(slide_id, patient_id, owner=self.owner, problem=problem):
            return None
        found = self.files.get(name_key(slide_id), [])
        if len(found) != 1:
            wanted = [f"{slide_id}{suffix}" for suffix in self.suffixes]
            names = " and ".join([path.name for path in found] or wanted)
            problem(
                f"the slide {slide_id} has several files of features: {names}."
                if found
                else f"there are no features of slide {slide_id} ({names}).",
                "Keep one, or set features.format."
                if found
                else "Add the file, correct slide_id, or run with --exclude-failed.",
                file=self.folder,
            )
            return None
        return Slide(slide_id=slide_id, patient_id=patient_id, images=(), features=found[0])
