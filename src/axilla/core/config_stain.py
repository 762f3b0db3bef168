"""`stain:` of a study."""

from __future__ import annotations

from typing import Literal

from axilla.core.config_base import Seed, Strict


class StainNormalisation(Strict):
    """Every slide's stain is mapped to one target before the encoder sees it."""

    method: Literal["macenko", "reinhard"]
    target: str = "published"
    """published: a constant of the literature. training: the mean of the training slides' own, for
    a study with one split. Else a file: an H&E image to take as reference."""
    unreliable: Literal["refuse", "keep"] = "refuse"
    """A slide whose stain cannot be estimated: an error, or it keeps its colours and is named."""
    seed: Seed = 8888
    """Of the sample of pixels that a slide's stain is estimated from."""

    @property
    def reference(self) -> str | None:
        """The file of a reference image, where that is the target."""
        return None if self.target in {"published", "training"} else self.target
