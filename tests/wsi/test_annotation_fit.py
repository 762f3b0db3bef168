from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from axilla.core.types import MicronsPerPixel, Slide
from axilla.wsi.annotation_fit import Fit, check_fit
from axilla.wsi.regions import find_regions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = (400, 300)


@pytest.fixture
def fit(tmp_path: Path, save_png: Callable) -> Callable[..., Fit]:
    """What is said of an annotation of a slide of 400 x 300 pixels with tissue on the right."""
    image = np.full((*SIZE[::-1], 3), 240, np.uint8)
    image[50:250, 200:380] = (220, 140, 190)
    path = save_png(image, "s1.png")

    def check(content: Any, *, mpp: float | None = None) -> Fit:
        annotation = tmp_path / "s1.json"
        annotation.write_text(content if isinstance(content, str) else json.dumps(content))
        slide = Slide("s1", "p1", (path,), annotation)
        regions = find_regions(slide, mode="annotation")
        found = check_fit(
            slide, regions, size=SIZE, mpp=None if mpp is None else MicronsPerPixel(mpp)
        )
        for problem in (*found.problems, *found.notes):
            assert (problem.patient, problem.file, problem.fatal) == ("p1", annotation, False)
            assert problem.remedy
        return found

    return check


def square(low: float, high: float, **more: Any) -> dict[str, Any]:
    ring = [[low, low], [high, low], [high, high], [low, high]]
    return {"positive": [{"vertices": ring}], **more}


def test_nothing_to_say(fit: Callable[..., Fit]) -> None:
    assert fit(square(100, 250)) == Fit()
    assert fit(square(100, 250, image={"width": 400, "height": 299, "name": "S1.svs"})) == Fit()
    assert fit(square(100, 250, image={"width": "400", "height": [], "name": 3})) == Fit()


def test_the_size_that_the_file_names(fit: Callable[..., Fit]) -> None:
    (copy,) = fit(square(100, 250, imageWidth=800, imageHeight=600)).problems
    assert copy.cause == (
        "the annotation says that it was drawn on an image of 800 x 600 pixels; the slide has "
        "400 x 300, a copy 2 times as wide."
    )
    (other,) = fit(square(100, 250, metadata={"width": 300, "height": 400})).problems
    assert other.cause.endswith("the slide has 400 x 300, another image.")


def test_the_name_that_the_file_says(fit: Callable[..., Fit]) -> None:
    found = fit(square(100, 250, imagePath="C:\\slides\\s2.svs"))
    assert found.problems == ()
    assert found.notes[0].cause == "the annotation names the image 's2.svs', the slide is s1.png."
    assert fit(square(100, 250, imagePath="C:\\slides\\s1.svs")) == Fit()


def test_the_scale_of_image_scope(fit: Callable[..., Fit]) -> None:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in [(9, 9), (300, 9), (300, 200)])
    text = (
        '<Annotations MicronsPerPixel="0.25"><Annotation><Regions><Region><Vertices>'
        f"{vertices}</Vertices></Region></Regions></Annotation></Annotations>"
    )
    assert fit(text, mpp=0.2527) == fit(text, mpp=None) == Fit()
    (problem,) = fit(text, mpp=0.5).problems
    assert "drawn at 0.25 µm per pixel; the slide has 0.5" in problem.cause
    assert fit(text.replace("0.25", "none"), mpp=0.5) == Fit()


def test_a_corner_of_glass(fit: Callable[..., Fit]) -> None:
    # The tissue, drawn on a copy of a fifth: on the slide there is glass.
    (problem,) = fit(square(40, 70)).problems
    assert "top left corner, on glass: they look like those of a smaller copy" in problem.cause
    assert "full resolution" in problem.remedy


def test_a_corner_where_it_cannot_be_told(tmp_path: Path, save_png: Callable) -> None:
    image = np.full((*SIZE[::-1], 3), 240, np.uint8)
    image[5:60, 5:90] = (220, 140, 190)
    for name, fill in (("tissue", image), ("glass", np.full_like(image, 240))):
        annotation = tmp_path / f"{name}.json"
        annotation.write_text(json.dumps(square(10, 50)))
        slide = Slide(name, "p1", (save_png(fill, f"{name}.png"),), annotation)
        regions = find_regions(slide, mode="annotation")
        found = check_fit(slide, regions, size=SIZE, mpp=None)
        assert found.problems == ()
        assert "as those of a smaller copy of the slide would" in found.notes[0].cause


def test_repairs_are_told(fit: Callable[..., Fit]) -> None:
    bowtie = [[100, 100], [300, 250], [300, 100], [100, 250]]
    found = fit({"positive": [{"vertices": bowtie}, *square(150, 200)["positive"]]})
    assert found.problems == ()
    assert found.notes[0].cause == (
        "1 of 2 regions of slide s1 has an outline that crosses itself; what it encloses was taken."
    )


def test_no_annotation(tmp_path: Path) -> None:
    slide = Slide("s1", "p1", (tmp_path / "s1.png",))
    assert check_fit(slide, (), size=SIZE, mpp=None) == Fit()
