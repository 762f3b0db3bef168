"""Finding the file of features of a slide that was encoded elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axilla.core.errors import CohortError
from axilla.core.slide_files import belongs
from axilla.core.types import Slide

if TYPE_CHECKING:
    from collections.abc import Callable

    from axilla.core.config_encoder import ImportedFeatures


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
        paths = [self.folder / f"{slide_id}{suffix}" for suffix in self.suffixes]
        found = [path for path in paths if path.is_file()]
        if len(found) != 1:
            names = " and ".join(path.name for path in found or paths)
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
