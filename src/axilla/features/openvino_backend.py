"""A frozen encoder by OpenVINO, the extra `openvino`: the fastest on a CPU."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from types import ModuleType

    from axilla.features.encoders import PatchEncoder

_PRECISION = {"float32": "f32", "bfloat16": "bf16"}


class _OfBytes(nn.Module):
    """Normalising and the body in one graph, so that bytes go in as a slide gives them."""

    def __init__(self, encoder: PatchEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, patches: Tensor) -> Tensor:
        """Bytes [n, h, w, 3] to features [n, D]."""
        x = self.encoder.normalised(patches.permute(0, 3, 1, 2))
        features: Tensor = self.encoder.body(x)
        return features.flatten(1)


class OpenVinoEncoder(nn.Module):
    """The same function as `encoder`, compiled for this CPU.

    Parameters
    ----------
    encoder
        In evaluation mode, with an `input_px`.
    precision
        What products are computed in; features go out as float32.
    """

    def __init__(self, encoder: PatchEncoder, *, precision: Literal["float32", "bfloat16"]) -> None:
        super().__init__()
        openvino = _import_openvino()
        side = encoder.input_px
        with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
            # OpenVINO reads networks that torch.jit has traced, and torch would rather it did not.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            example = torch.zeros(2, side or 0, side or 0, 3, dtype=torch.uint8)
            # Traced here: OpenVINO's own tracing takes 60 MB more of DenseNet121, for good.
            trace: Any = torch.jit.trace
            traced = trace(_OfBytes(encoder), example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
        model.reshape([-1, side, side, 3])
        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _PRECISION[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        # Without the body: its weights are the compiled model's now.
        self._sized = encoder.with_body(nn.Identity()).sized
        self._request: Any = compiled.create_infer_request()

    def forward(self, patches: Tensor) -> Tensor:
        """Patches [n, 3, h, w] uint8 to features [n, D] float32."""
        sized = self._sized(patches).permute(0, 2, 3, 1)
        found = self._request.infer([sized.contiguous().numpy()])[0]
        # The next call writes over what this one gave.
        return torch.from_numpy(found.copy())


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which reports every import to its makers.

    Patients' data are near: nothing of a study leaves the machine, not even that there is one.
    """
    if "openvino" not in sys.modules:
        # None makes `import openvino_telemetry` fail, and OpenVINO goes on without it.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")
