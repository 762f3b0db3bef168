"""What a generated cohort looks like: effect sizes, tissue, stain, in µm where it is a length."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NucleiLaw:
    """How tumour nuclei are distributed in one kind of tissue."""

    density_mm2: float
    """Nuclei per mm² of tumour."""
    area_um2: float
    aspect: float
    """Mean of major over minor axis; more makes a nucleus less circular."""
    polarity: float
    """Concentration of the von Mises law of twice the angle; 0 is no common orientation."""


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """Everything that a generated cohort depends on besides the seed.

    The witness patches of N(+) patients differ as the paper found (section 3.6): higher nuclear
    density and common orientation, lower circumference, circularity and area. They are the only
    thing on a slide that depends on the nodes.
    """

    width: int = 1100
    """Pixels."""
    height: int = 800
    """Pixels."""
    mpp: float = 1.0
    """µm per pixel; 1.0 is the 10x objective, nuclei are 7 to 9 pixels across."""
    patch: int = 64
    """Side in pixels of the squares of the witness grid; as `patches.size` of the study."""
    max_blank: float = 0.3
    """Squares with this share or more outside the outline do not count as tumour patches."""
    tumour_share: tuple[float, float] = (0.29, 0.40)
    """Range of the annotated outlines' share of the slide."""
    tumour: NucleiLaw = field(
        default_factory=lambda: NucleiLaw(density_mm2=5200, area_um2=54, aspect=1.25, polarity=0.3)
    )
    witness: NucleiLaw = field(
        default_factory=lambda: NucleiLaw(density_mm2=7400, area_um2=37, aspect=1.75, polarity=4.0)
    )
    witness_share: float = 0.35
    """Mean share of the tumour patches of an N(+) patient that are witnesses."""
    witness_spread: float = 0.10
    """A patient's share is uniform within so much of its mean."""
    witness_per_node: float = 0.02
    """How much the mean share grows a positive node, from the third, up to the sixth."""
    noise_witness_share: tuple[float, float] = (0.0, 0.02)
    """Range of the share in N0 patients: patches that look alike and mean nothing."""
    silent_share: float = 0.0
    """Share of N(+) patients whose biopsy missed every witness (they look like N0)."""
    size_shift: float = 0.42
    """How many SD larger the tumour of N(+) patients is."""
    age_shift: float = -0.20
    """How many SD older N(+) patients are."""
    density_sd: float = 0.10
    """SD of the logarithm of a patient's own factor of nuclear density."""
    area_sd: float = 0.08
    """SD of the logarithm of a patient's own factor of nuclear area."""
    stain_sd: float = 0.10
    """SD of the logarithm of a patient's stain concentrations; a third of it moves the hues."""
    jpeg_quality: int = 95

    @classmethod
    def at(cls, mpp: float) -> SyntheticConfig:
        """The default at another scale: the same µm of tissue, in more or fewer pixels."""
        default = cls()
        width, height, patch = (
            round(pixels * default.mpp / mpp)
            for pixels in (default.width, default.height, default.patch)
        )
        return cls(width=width, height=height, patch=patch, mpp=mpp)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a slide in pixels."""
        return self.height, self.width
