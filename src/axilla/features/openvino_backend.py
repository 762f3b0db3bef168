"""A frozen encoder's body by OpenVINO, the extra `openvino`: the fastest on a CPU."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from types import ModuleType

_PRECISION = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBody(nn.Module):
    """The same function as `body`, compiled for this CPU.

    Parameters
    ----------
    body
        In evaluation mode; float32 [n, 3, input_px, input_px] in.
    precision
        What products are computed in; weights come in and features go out as float32.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        input_px: int,
        precision: Literal["float32", "bfloat16"],
    ) -> None:
        super().__init__()
        openvino = _import_openvino()
        with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
            # OpenVINO reads networks that torch.jit has traced, and torch would rather it did not.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            example = torch.zeros(2, 3, input_px, input_px)
            model = openvino.convert_model(body, example_input=example)
        model.reshape([-1, 3, input_px, input_px])
        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _PRECISION[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        self._request: Any = compiled.create_infer_request()

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] -> [n, ...], float32."""
        found = self._request.infer([x.contiguous().numpy()])[0]
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
