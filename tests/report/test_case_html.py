"""The page of one new case: what it says, what it escapes, and that it fits two printed pages."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from axilla.report.case_html import (
    Bar,
    CasePage,
    Gauge,
    MapPicture,
    PatchPicture,
    SlidePictures,
    render_case,
)
from axilla.report.contents import Table


def picture(width: int, height: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 120, 170)).save(buffer, kind)
    return buffer.getvalue()


def heat_map(title: str, width: int = 1100, height: int = 800) -> MapPicture:
    return MapPicture(
        title=title, jpeg=picture(width, height), alt=f"{title} over the slide", width=width,
        height=height, bar_text="500 µm", bar_percent=20.0, ramp=picture(256, 1, "PNG"),
        low="-0.05", high="+0.05", caption="1 = as if all patches weighed the same; no evidence.",
    )  # fmt: skip


def slide(number: int) -> SlidePictures:
    patch = PatchPicture(picture(64, 64), "Patch at 1, 2", "1.09 / -0.01")
    return SlidePictures(
        f"S{number}", "217 patches looked at · 328 too white · 0.5 µm per pixel · no outline",
        (heat_map("Attention"), heat_map("Contribution")), (patch,) * 8,
    )  # fmt: skip


def page(**changes: object) -> CasePage:
    """A page as of a case of one slide, without doubt."""
    plain = CasePage(
        patient_id="P <b>7</b>", endpoint="N0 against N(+)", model="DL-CNB+C of the study Demo",
        generated=False, severe=(), cautions=(), number="0.396", number_label="Probability of N(+)",
        number_detail="called N0 at the threshold 0.433",
        gauge=Gauge(0.396, 0.35, 0.42, 0.433, "Probability of N(+): 0.396"),
        sentences=(
            ("Over 20 other draws of bags and 5 members it lies between 0.350 and 0.420: a range "
            "over bag redraws and members; not a confidence interval of the risk."),
            "Standard deviation over the 5 members: 0.021.",
            ("Calibrated risk: 0.31 (0.28 to 0.34), recalibrated by platt on 159 validation "
            "patients. It holds where metastasis is as frequent as among them."),
            "95% of 20 redraws of bags give N0 as well; of redraws and members singly, 91%.",
        ),
        classes=None,
        validation=Table(
            "What the threshold 0.433 meant on validation", ("Measure", "Value [95% CI]"),
            tuple((name, "0.500 [0.068, 0.932]") for name in ("Sensitivity", "Specificity", "PPV",
                                                              "NPV")),
            notes=(("159 validation patients of the study, 60 of them N(+). These patients chose "
                   "the threshold (Youden's index on validation), so it is optimistic."),),
            number_columns=(1,),
        ),
        bars=(
            Bar("Training patients", "-0.38", -1.0), Bar("Image", "-0.09", -0.2),
            Bar("Clinical", "+0.05", 0.1),
            *(Bar(name, "+0.14", 0.3, minor=True) for name in ("age", "tumor_size_cm", "er", "pr",
                                                               "her2")),
        ),
        bars_note="In log-odds of N(+), from the share of N(+) training patients to this number. "
        * 4,
        slides=(slide(1),), maps_note="Attention is no evidence of metastasis. " * 6,
        clinical=Table(
            "Clinical values", ("Column", "Given", "Taken as"),
            tuple((name, "47 years", "as given") for name in ("age", "tumor_size_cm", "er", "pr",
                                                              "her2")),
            listed=True,
        ),
        facts=(("Study", "Demo"), ("Method", "DL-CNB+C"), ("Encoder", "vgg16_bn"),
               ("Members", "5"), ("Weights", "SHA-256 9cc8de6b2cf23f35…"), ("Asked by", "axilla")),
        notes=("`ki67` is not looked at: the model does not read it.",), written="0.1.0",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


DOUBT = (
    "These slides do not look like those that the model was trained on: their features lie at a "
    "distance of 3.12, and 95% of such patients within 1.22. Stain, scanner or tissue may differ."
)
FULLEST = page(
    generated=True, severe=(DOUBT,) * 9, cautions=(DOUBT,) * 6,
    slides=tuple(slide(number) for number in range(5)),
)  # fmt: skip
"""More warnings than a case can have, and more slides than are printed."""


def test_all_text_is_escaped_and_nothing_is_loaded() -> None:
    text = render_case(page(severe=("<script>alert(1)</script>",), model='"><img src=x>'))
    assert "<script" not in text
    assert "<b>7</b>" not in text
    assert "<img src=x>" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "default-src 'none'" in text


def test_a_severe_warning_stands_above_the_number() -> None:
    text = render_case(FULLEST)
    assert text.index("Do not rely on this number") < text.index(DOUBT) < text.index(">0.396<")
    assert "Do not rely on this number" not in render_case(page())


def test_a_generated_model_is_told_at_the_top_and_on_every_page() -> None:
    text = render_case(FULLEST)
    assert text.count("trained on a generated cohort") == 4
    assert text.index("Generated data.") < text.index("<h1>")
    assert "generated cohort" not in render_case(page())


def test_what_is_not_there_is_left_out() -> None:
    text = render_case(
        page(gauge=None, validation=None, bars=(), slides=(), clinical=None, maps_note="")
    )
    assert 'class="gauge"' not in text
    assert "What moved the number" not in text
    assert "What was asked" in text


def test_the_same_contents_give_the_same_text() -> None:
    assert render_case(FULLEST) == render_case(FULLEST)


@pytest.mark.browser
@pytest.mark.parametrize("shown", [page(), page(slides=(slide(1), slide(2))), FULLEST])
def test_it_prints_on_two_pages(chromium: Path, tmp_path: Path, shown: CasePage) -> None:
    (tmp_path / "case.html").write_text(render_case(shown), encoding="utf-8")
    subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={tmp_path / 'case.pdf'}",
            (tmp_path / "case.html").as_uri(),
        ],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    pages = re.findall(rb"/Type\s*/Page[^s]", (tmp_path / "case.pdf").read_bytes())
    assert len(pages) == 2
