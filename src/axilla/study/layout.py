"""Where everything lies under the study's `out:` folder (DESIGN, Files)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from axilla.core import store


def write_if_new(path: Path, content: str) -> bool:
    """Write a text file, unless it holds just that already; return whether it was written."""
    if path.is_file() and path.read_bytes() == content.encode("utf-8"):
        return False
    store.write_text(path, content)
    return True


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of a study's artefacts."""

    out: Path

    def grid(self, slide_id: str) -> Path:
        """Patches of a slide."""
        return self.out / "patches" / f"{slide_id}.parquet"

    def stain(self, slide_id: str) -> Path:
        """A slide's own stain, or why it cannot be estimated."""
        return self.out / "stain" / f"{slide_id}.json"

    def features(self, encoder: str, slide_id: str) -> Path:
        """Features of a slide."""
        # `timm:name`: a colon is no part of a folder's name everywhere.
        return self.out / "features" / encoder.replace(":", "-") / f"{slide_id}.h5"

    @property
    def imported(self) -> Path:
        """What the files of features made elsewhere hold."""
        return self.out / "features" / "imported.json"

    def models(self, method: str) -> Path:
        """Folder of all that a method learned."""
        return self.out / "models" / method

    def model(self, method: str, partition: str) -> Path:
        """Folder of a method's model; one a fold in cross-validation."""
        folder = self.models(method)
        return folder if partition == "split" else folder / partition

    def ensemble(self, method: str) -> Path:
        """Folder of the ensemble of all folds' models, for use outside the study."""
        return self.models(method) / "ensemble"

    def member(self, method: str, partition: str, index: int) -> Path:
        """A finished member of an ensemble, until the ensemble is whole."""
        return self.model(method, partition) / "members" / str(index)

    def aside(self, method: str, partition: str) -> Path:
        """Folder of a model of a split or a fold that the study no longer has."""
        return self.out / "set-aside" / "models" / method / partition

    def heatmap(self, slide_id: str) -> Path:
        """Attention of a slide over its thumbnail."""
        return self.out / "heatmaps" / f"{slide_id}.png"

    def contribution(self, slide_id: str) -> Path:
        """What each patch gives to the log-odds, over the slide's thumbnail."""
        return self.out / "heatmaps" / f"{slide_id}-contribution.png"

    def map_of(self, slide_id: str, name: str) -> Path:
        """The picture of attention, or of contributions."""
        return self.heatmap(slide_id) if name == "attention" else self.contribution(slide_id)

    def overlay(self, slide_id: str, name: str, number: int | None) -> Path:
        """Attention or contributions to lay over one of a slide's images, as OME-TIFF."""
        of = "" if number is None else f"-{number}"
        return self.out / "heatmaps" / f"{slide_id}-{name}{of}.ome.tif"

    def nuclei(self, slide_id: str) -> Path:
        """The nuclei that are seen whole within a slide's patches, measured."""
        return self.out / "nuclei" / f"{slide_id}.parquet"

    def nuclei_patches(self, slide_id: str) -> Path:
        """How many nuclei each patch of a slide has."""
        return self.out / "nuclei" / f"{slide_id}-patches.parquet"

    def nuclei_drawn(self, slide_id: str, number: int | None) -> Path:
        """The same of one of a slide's images, as QuPath opens it."""
        of = "" if number is None else f"-{number}"
        return self.out / "nuclei" / f"{slide_id}{of}.geojson"

    def nuclei_outlined(self, slide_id: str) -> Path:
        """Some patches of a slide with the outlines of their nuclei."""
        return self.out / "nuclei" / f"{slide_id}-outlined.png"

    @property
    def nuclei_features(self) -> Path:
        """Each patient's nucleus features."""
        return self.out / "nuclei" / "features.csv"

    @property
    def nuclei_weights(self) -> Path:
        """How much the attention weighs each feature, a test patient a row."""
        return self.out / "nuclei" / "weights.csv"

    @property
    def nuclei_tests(self) -> Path:
        """Whether each feature differs between the classes."""
        return self.out / "nuclei" / "tests.csv"

    def gallery(self, slide_id: str) -> Path:
        """The slide's patches with the highest and the lowest attention."""
        return self.out / "heatmaps" / f"{slide_id}-patches.png"

    def attention(self, slide_id: str) -> Path:
        """Attention of each patch of a slide, as a table."""
        return self.out / "attention" / f"{slide_id}.csv"

    def tiles(self, slide_id: str, number: int | None) -> Path:
        """Patches with their attention as QuPath opens them, of one of a slide's images."""
        of = "" if number is None else f"-{number}"
        return self.out / "attention" / f"{slide_id}{of}.geojson"

    def case(self, patient_id: str) -> Path:
        """The page of one patient's case; its numbers beside it, as .json."""
        return self.out / "explained" / f"{patient_id}.html"

    def case_nuclei(self, patient_id: str) -> Path:
        """One patient's nucleus features among those of the training patients; .csv beside it."""
        return self.out / "explained" / f"{patient_id}-nuclei.svg"

    def learned_from(self, patient_id: str) -> Path:
        """Folder of a case that the model learned from, apart from the test slides' maps."""
        return self.out / "explained" / "learned-from" / patient_id

    def audit(self, slide_id: str) -> Path:
        """Outlines and patch grid of a slide over its thumbnail."""
        return self.out / "audit" / f"{slide_id}.png"

    @property
    def audit_index(self) -> Path:
        """All of these on one page."""
        return self.out / "audit" / "index.html"

    @property
    def split(self) -> Path:
        """Who is in which cohort."""
        return self.out / "split.csv"

    @property
    def split_aside(self) -> Path:
        """The split that the study had before its folds."""
        return self.out / "set-aside" / "split.csv"

    @property
    def check(self) -> Path:
        """What the last check of the inputs said, for programs."""
        return self.out / "check.json"

    @property
    def check_memory(self) -> Path:
        """What was in order at the last check."""
        return self.out / "steps" / "checked.json"

    @property
    def exclusions(self) -> Path:
        """Who left the study, and why."""
        return self.out / "exclusions.csv"

    @property
    def predictions(self) -> Path:
        """Scores of all patients by all methods."""
        return self.out / "predictions.csv"

    @property
    def metrics(self) -> Path:
        """All figures, full precision."""
        return self.out / "metrics.json"

    @property
    def tables(self) -> Path:
        """Folder of tables."""
        return self.out / "tables"

    @property
    def figures(self) -> Path:
        """Folder of figures."""
        return self.out / "figures"

    @property
    def report(self) -> Path:
        """The report."""
        return self.out / "report.html"
