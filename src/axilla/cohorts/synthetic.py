"""A generated cohort: patients drawn from the paper's Table 1, with painted biopsy slides.

No patient and no real slide is behind any of it; every slide and folder says so. What it is for:
tests, the demo, and finding out whether a method can learn what section 3.6 of the paper found.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import pandas as pd

from axilla.cohorts.synthetic_config import NucleiLaw, SyntheticConfig
from axilla.cohorts.tissue_painter import PaintedSlide, paint_slide
from axilla.core.errors import CohortError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "NucleiLaw",
    "SlideTruth",
    "SyntheticCohort",
    "SyntheticConfig",
    "SyntheticPatient",
    "draw_patients",
    "draw_witness_share",
    "generate_cohort",
    "read_truth",
]

Receptor = Literal["positive", "negative"]
Progress = Callable[[int, int], None]
"""Called with the number of slides done and their total."""

TABLE_1_PATIENTS = 1058
TABLE_1_N0, TABLE_1_N1_2 = 655, 210
TABLE_1_ER, TABLE_1_PR, TABLE_1_HER2 = 831, 790, 277
AGE_MEAN, AGE_SD, AGE_RANGE = 57.58, 12.523, (22, 90)
SIZE_MEAN, SIZE_SD, SIZE_RANGE = 2.253, 0.923, (0.5, 4.5)
"""Before rounding and clipping, which leave Table 1's 2.234 and 0.8623."""

DEFAULT_CONFIG = SyntheticConfig()
NOTICE = "GENERATED.txt"
_NOTICE_TEXT = """\
GENERATED DATA - no patient, no biopsy, no scanner is behind anything in this folder.

The patients of cohort.csv are random draws from the marginals of Table 1 of Xu et al. 2021; the
slides are painted by axilla.cohorts.synthetic and carry the word GENERATED in their corner.
Figures computed from them say whether software works, and nothing about medicine.

cohort.csv                the patients; `nodes` is the number of positive lymph nodes
slides/<patient>.jpg      the slide, {mpp} um per pixel
annotations/<patient>.json  outlines of the tumour in slide pixels, in the form of BCNB
truth/<patient>.npz       what was painted where; read it with axilla.cohorts.synthetic.read_truth

seed {seed}, patients {patients}, configuration:
{config}
"""


@dataclass(frozen=True, slots=True)
class SyntheticPatient:
    """One row of a generated `cohort.csv`."""

    patient_id: str
    age: int
    tumor_size_cm: float
    er: Receptor
    pr: Receptor
    her2: Receptor
    nodes: int
    """Positive lymph nodes; 0 is N0."""


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticCohort:
    """A generated cohort on disk."""

    directory: Path
    patients: tuple[SyntheticPatient, ...]
    seed: int
    config: SyntheticConfig

    @property
    def table(self) -> Path:
        """The table of patients."""
        return self.directory / "cohort.csv"

    @property
    def slides(self) -> Path:
        """Folder of the slides, `<patient_id>.jpg`."""
        return self.directory / "slides"

    @property
    def annotations(self) -> Path:
        """Folder of the tumour outlines, `<patient_id>.json`."""
        return self.directory / "annotations"

    @property
    def truth(self) -> Path:
        """Folder of what was painted, `<patient_id>.npz`."""
        return self.directory / "truth"


@dataclass(frozen=True, slots=True, eq=False)
class SlideTruth:
    """What was painted on one slide; all coordinates (x, y) in slide pixels.

    `inst_map` int32 [H, W]: 0, or the number of the nucleus; `nucleus_kind` uint8 [n]: of nucleus
    1 to n, 0 stroma, 1 lymphocyte, 2 tumour; `patch_xy` int32 [m, 2]: top left corners of the
    tumour patches; `patch_region` int32 [m]: their outline; `witness` bool [m]: which of them are
    witnesses; `witness_centres` float64 [k, 2].
    """

    inst_map: NDArray[np.int32]
    nucleus_kind: NDArray[np.uint8]
    patch_xy: NDArray[np.int32]
    patch_region: NDArray[np.int32]
    witness: NDArray[np.bool_]
    witness_centres: NDArray[np.float64]
    polygons: tuple[NDArray[np.int32], ...]


def draw_patients(
    count: int, rng: np.random.Generator, *, config: SyntheticConfig = DEFAULT_CONFIG
) -> tuple[SyntheticPatient, ...]:
    """Draw patients with the marginals of the paper's Table 1.

    Shares are met as closely as `count` allows. Age and tumour size lean on the nodes by
    `config.age_shift` and `config.size_shift`, by who gets which value: the marginals do not
    change. Receptors do not depend on the nodes.

    Parameters
    ----------
    count : int
        Number of patients.
    rng : numpy.random.Generator
    config : SyntheticConfig

    Returns
    -------
    tuple of SyntheticPatient
        `SYN-0001` onwards.
    """
    nodes = _draw_nodes(count, rng)
    positive = (nodes > 0).astype(np.float64)
    age_rank = _ranks(config.age_shift * positive + rng.standard_normal(count))
    size_rank = _ranks(config.size_shift * positive + rng.standard_normal(count))
    age = np.sort(np.clip(np.rint(rng.normal(AGE_MEAN, AGE_SD, count)), *AGE_RANGE))[age_rank]
    size = np.sort(_draw_sizes(count, rng))[size_rank]
    er_latent = rng.standard_normal(count)
    pr_latent = 0.95 * er_latent + np.sqrt(1 - 0.95**2) * rng.standard_normal(count)
    er, pr, her2 = (
        (_ranks(latent) + rng.random()) / count < share / TABLE_1_PATIENTS
        for latent, share in (
            (er_latent, TABLE_1_ER),
            (pr_latent, TABLE_1_PR),
            (rng.standard_normal(count), TABLE_1_HER2),
        )
    )
    return tuple(
        SyntheticPatient(
            patient_id=f"SYN-{index + 1:04d}",
            age=int(age[index]),
            tumor_size_cm=round(float(size[index]), 1),
            er=_receptor(er[index]),
            pr=_receptor(pr[index]),
            her2=_receptor(her2[index]),
            nodes=int(nodes[index]),
        )
        for index in range(count)
    )


def draw_witness_share(nodes: int, rng: np.random.Generator, *, config: SyntheticConfig) -> float:
    """Draw the share of a patient's tumour patches that are witnesses, from the nodes."""
    silent = rng.random() < config.silent_share
    if nodes == 0 or silent:
        return float(rng.uniform(*config.noise_witness_share))
    mean = config.witness_share + config.witness_per_node * min(max(nodes - 2, 0), 4)
    return float(np.clip(mean + config.witness_spread * rng.uniform(-1, 1), 0, 1))


def generate_cohort(
    directory: Path,
    *,
    patients: int,
    seed: int,
    config: SyntheticConfig = DEFAULT_CONFIG,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticCohort:
    """Generate a cohort and write it; the same arguments give the same bytes.

    `cohort.csv` is written last: a folder without it was interrupted.

    Parameters
    ----------
    directory : Path
        Made where it does not exist. A cohort generated there before is replaced.
    patients : int
        Number of patients; one slide each.
    seed : int
        Every patient's slide has its own stream of it: `workers` changes nothing.
    config : SyntheticConfig
    workers : int
        Processes that paint; 1 paints in this one.
    progress : callable, optional
        Called in this process with the number of slides done and their total.

    Returns
    -------
    SyntheticCohort

    Raises
    ------
    CohortError
        There are no patients to draw, or the folder holds something that was not generated.
    """
    cohort = SyntheticCohort(
        directory=directory,
        patients=_drawn(patients, seed=seed, config=config),
        seed=seed,
        config=config,
    )
    _make_room(cohort)
    notice = _NOTICE_TEXT.format(
        mpp=config.mpp, seed=seed, patients=patients, config=json.dumps(asdict(config), indent=2)
    )
    (directory / NOTICE).write_text(notice, encoding="utf-8")
    for done, _ in enumerate(_painted(cohort, workers=workers), start=1):
        if progress is not None:
            progress(done, patients)
    table = pd.DataFrame([asdict(patient) for patient in cohort.patients])
    table.to_csv(cohort.table, index=False, lineterminator="\n")
    return cohort


def read_truth(path: Path) -> SlideTruth:
    """Read `truth/<patient_id>.npz`; nothing in it is unpickled.

    Raises
    ------
    StoreError
        The file is missing, or is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            outline = file["polygon_index"]
            return SlideTruth(
                inst_map=file["inst_map"],
                nucleus_kind=file["nucleus_kind"],
                patch_xy=file["patch_xy"],
                patch_region=file["patch_region"],
                witness=file["witness"],
                witness_centres=file["witness_centres"],
                polygons=tuple(
                    file["polygon_xy"][outline == index] for index in range(outline.max() + 1)
                ),
            )
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"the truth of a generated slide cannot be read ({error}).",
            "Generate the cohort again.",
            file=path,
        ) from error


def _drawn(count: int, *, seed: int, config: SyntheticConfig) -> tuple[SyntheticPatient, ...]:
    if count < 1:
        raise CohortError(
            f"a cohort of {count} patients cannot be generated.", "Ask for 1 or more."
        )
    return draw_patients(count, np.random.default_rng([seed, 0]), config=config)


def _draw_nodes(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of positive nodes by Table 1: groups 655, 210, 193 of 1,058, mean 1.20, SD 2.08."""
    place = (_ranks(rng.standard_normal(count)) + rng.random()) / count * TABLE_1_PATIENTS
    few = 1 + (rng.random(count) < 0.4)
    many = 3 + rng.negative_binomial(2.75, 0.572, count)
    nodes: NDArray[np.int64] = np.select(
        [place < TABLE_1_N0, place < TABLE_1_N0 + TABLE_1_N1_2], [0, few], many
    )
    return nodes


def _draw_sizes(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Tumour sizes in cm, skewed, half of them rounded to 0.5 cm as sonographers do."""
    spread = np.log1p((SIZE_SD / SIZE_MEAN) ** 2)
    size = rng.lognormal(np.log(SIZE_MEAN) - spread / 2, np.sqrt(spread), count)
    step = np.where(rng.random(count) < 0.5, 0.5, 0.1)
    sizes: NDArray[np.float64] = np.clip(np.rint(size / step) * step, *SIZE_RANGE)
    return sizes


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    ranks: NDArray[np.int64] = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ranks


def _receptor(positive: object) -> Receptor:
    return "positive" if positive else "negative"


def _make_room(cohort: SyntheticCohort) -> None:
    """Make the folders; take a cohort generated before away, refuse to touch anything else."""
    directory = cohort.directory
    if directory.exists() and any(directory.iterdir()) and not (directory / NOTICE).exists():
        raise CohortError(
            "the folder for the generated cohort holds other files.",
            "Name a new or empty folder, so that generated and real patients never mix.",
            file=directory,
        )
    cohort.table.unlink(missing_ok=True)
    for folder in (cohort.slides, cohort.annotations, cohort.truth):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("SYN-*"):
            old.unlink()


def _painted(cohort: SyntheticCohort, *, workers: int) -> Iterator[None]:
    """Paint and write the slides; yields after each."""
    indices = range(len(cohort.patients))
    if workers <= 1:
        for index in indices:
            _paint_and_write(cohort, index)
            yield
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    ) as pool:
        count = len(indices)
        yield from pool.map(_paint_and_write, [cohort] * count, indices, chunksize=2)


def _paint_and_write(cohort: SyntheticCohort, index: int) -> None:
    patient = cohort.patients[index]
    share_rng, slide_rng = np.random.default_rng([cohort.seed, index + 1]).spawn(2)
    share = draw_witness_share(patient.nodes, share_rng, config=cohort.config)
    slide = paint_slide(slide_rng, witness_share=share, config=cohort.config)
    name = patient.patient_id
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, cohort.config.jpeg_quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(slide.image, cv2.COLOR_RGB2BGR), options)[1]
    (cohort.slides / f"{name}.jpg").write_bytes(encoded.tobytes())
    outlines = [{"vertices": outline.tolist()} for outline in slide.layout.tumours]
    (cohort.annotations / f"{name}.json").write_text(
        json.dumps({"positive": outlines}) + "\n", encoding="utf-8"
    )
    _write_truth(cohort.truth / f"{name}.npz", slide, config=cohort.config)


def _write_truth(path: Path, slide: PaintedSlide, *, config: SyntheticConfig) -> None:
    witness = slide.grid.cluster > 0
    outlines = slide.layout.tumours
    np.savez_compressed(
        path,
        inst_map=slide.inst_map,
        nucleus_kind=slide.kinds,
        patch_xy=slide.grid.xy,
        patch_region=slide.grid.region,
        witness=witness,
        witness_centres=slide.grid.xy[witness] + config.patch / 2,
        polygon_xy=np.concatenate(outlines),
        polygon_index=np.repeat(np.arange(len(outlines)), [len(o) for o in outlines]),
    )
