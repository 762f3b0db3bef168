"""Other people's networks: what they are asked, and mistakes; the libraries are small stand-ins.

They have the names and arguments of Cellpose 4.2, InstanSeg 0.1 and StarDist 0.9, and find what is
dark. The libraries themselves are extras of several hundred MB, which tests do without.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from axilla.core.errors import WeightsError
from axilla.nuclei.agreement import compare_instances
from axilla.nuclei.segmentation import Segmenter, ToolSegmenter, segment_pixels
from axilla.nuclei.tools import LIBRARIES, open_tool

STANDINS = {
    "cellpose/__init__.py": "",
    "cellpose/models.py": """
import json
import numpy as np
from scipy import ndimage

class CellposeModel:
    def __init__(self, gpu=False, pretrained_model="cpsam_v2", use_bfloat16=True):
        assert not gpu and not use_bfloat16
        with open(pretrained_model) as file:
            if file.read(1) != "{":
                raise ValueError("This model does not appear to be a CP4 model.")

    def eval(self, x, channel_axis=None, diameter=None):
        assert channel_axis == 2 and x.dtype == np.uint8
        return ndimage.label(x.mean(axis=2) < 150)[0].astype(np.uint16), [], []
""",
    "instanseg/__init__.py": """
class InstanSeg:
    def __init__(self, model_type, device=None, image_reader="auto", verbosity=1):
        assert device == "cpu" and verbosity == 0
        self.network = model_type

    def eval_small_image(self, image, normalise=True, return_image_tensor=True, target="all"):
        assert normalise and not return_image_tensor and target == "nuclei"
        return self.network(image[None])
""",
    "stardist/__init__.py": "",
    "stardist/models.py": """
import json
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from scipy import ndimage

class StarDist2D:
    def __init__(self, config, name, basedir):
        assert config is None
        self.folder = Path(basedir) / name
        print("Loading network weights from 'weights_best.h5'.")
        self.config = SimpleNamespace(**json.loads((self.folder / "config.json").read_text()))

    def load_weights(self, name):
        if (self.folder / name).read_text() != "{}":
            raise OSError("Unable to synchronously open file (file signature not found)")

    def predict_instances(self, img, verbose=True):
        assert img.dtype == np.float32 and not verbose
        # Scaled between its percentiles: dark is near 0, white near 1.
        assert -0.2 < img.min() < 0.2 and 0.8 < img.max() < 1.2
        return ndimage.label(img.mean(axis=2) < 0.5)[0], {}
""",
}


class Dark(nn.Module):
    """As InstanSeg's models tell of themselves: dark rows, each run of columns a nucleus."""

    def __init__(self) -> None:
        super().__init__()
        self.pixel_size: float = 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # One channel of labels: here a single one.
        return (x.mean(1, keepdim=True) < 150).float()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three libraries, as stand-ins."""
    for name, text in STANDINS.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in list(sys.modules):
        if name.partition(".")[0] in LIBRARIES.values():
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    """Weights of each tool."""
    found = {name: tmp_path / name / "weights_best.h5" for name in LIBRARIES}
    for path in found.values():
        path.parent.mkdir()
        path.write_text("{}")
    (tmp_path / "stardist" / "config.json").write_text(json.dumps({"n_channel_in": 3}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(Dark()).save(str(found["instanseg"]))
    return found


class Unasked:
    """A segmenter that is not asked here."""

    zooms = (1.0,)
    own_zoom = 1.0

    def __call__(self, pixels: object) -> None:
        raise AssertionError(pixels)

    glance = __call__


SCALE: Segmenter = Unasked()  # type: ignore[assignment]


@pytest.fixture
def discs() -> tuple[np.ndarray, np.ndarray]:
    """Dark discs on white, and their instance map."""
    pixels = np.full((120, 160, 3), 240, np.uint8)
    truth = np.zeros((120, 160), np.int32)
    for number, (x, y) in enumerate([(30, 30), (90, 40), (50, 85), (120, 90)], start=1):
        cv2.circle(pixels, (x, y), 12, (70, 40, 110), -1)
        cv2.circle(truth, (x, y), 12, number, -1)
    return pixels, truth


def opened(tool: str, path: Path, mpp: float | None = None) -> ToolSegmenter:
    return open_tool(tool, path, mpp=mpp, scale=SCALE)  # type: ignore[arg-type]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("tool", ["cellpose", "stardist"])
def test_each_finds_nuclei_with_its_weights(
    tool: str, weights: dict[str, Path], discs: tuple[np.ndarray, np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pixels, truth = discs
    found = segment_pixels(pixels, opened(tool, weights[tool]), zoom=1.25)
    agreed = compare_instances(truth, found, radius_px=1)
    assert agreed.hits == agreed.truths == agreed.found
    assert agreed.aji > 0.9
    assert capsys.readouterr().out == ""  # which belongs to our commands


@pytest.mark.usefixtures("installed")
def test_instanseg_is_shown_images_at_the_scale_its_file_tells(
    weights: dict[str, Path], discs: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels, truth = discs
    tool = opened("instanseg", weights["instanseg"])
    assert tool.mpp == 0.5
    found = segment_pixels(pixels, tool, zoom=1.25)  # 0.5 µm per pixel: as it is
    np.testing.assert_array_equal(found > 0, truth > 0)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("tool", list(LIBRARIES))
def test_the_scale_that_is_given_goes_first(tool: str, weights: dict[str, Path]) -> None:
    assert opened(tool, weights[tool], mpp=0.23).mpp == 0.23


@pytest.mark.parametrize("tool", list(LIBRARIES))
def test_a_tool_that_is_not_installed_is_named_with_its_extra(
    tool: str, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        WeightsError, match=rf"{tool} is not installed.*pip install 'axilla\[{tool}"
    ):
        opened(tool, weights[tool])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("tool", list(LIBRARIES))
def test_what_is_not_there_is_not_fetched(tool: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"lost\.pt: is no file.*fetch it elsewhere"):
        opened(tool, tmp_path / "lost.pt")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("cellpose", r"does not open with cellpose \(This model does not appear.*Cellpose 4"),
        ("instanseg", r"does not open with instanseg.*in TorchScript"),
        ("stardist", r"does not open with stardist \(Unable to synchron.*weights_best\.h5"),
    ],
)
def test_another_file_is_a_sentence(tool: str, said: str, weights: dict[str, Path]) -> None:
    weights[tool].write_text("junk")
    with pytest.raises(WeightsError, match=said):
        opened(tool, weights[tool])


@pytest.mark.usefixtures("installed")
def test_a_model_of_stardist_is_whole_and_of_colours(weights: dict[str, Path]) -> None:
    config = weights["stardist"].parent / "config.json"
    config.write_text(json.dumps({"n_channel_in": 1}))
    with pytest.raises(WeightsError, match="a model for 1 channels, not for red, green and blue"):
        opened("stardist", weights["stardist"])
    config.unlink()
    with pytest.raises(WeightsError, match=r"no config\.json beside it"):
        opened("stardist", weights["stardist"])
