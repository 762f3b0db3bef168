"""Axillary lymph node metastasis predicted from the core-needle biopsy of the primary tumour."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axilla.deploy.case_inputs import CaseInput
    from axilla.deploy.loading import load_model
    from axilla.deploy.predicting import predict_case, write_case
    from axilla.deploy.validating import validate
    from axilla.features.arrays import features_from_arrays
    from axilla.study.bundles import read_bundle
    from axilla.study.checkpoints import import_checkpoint

__version__ = "0.1.0"
__all__ = [
    "CaseInput",
    "__version__",
    "features_from_arrays",
    "import_checkpoint",
    "load_model",
    "predict_case",
    "read_bundle",
    "validate",
    "write_case",
]

_HOMES = {
    "CaseInput": "axilla.deploy.case_inputs",
    "features_from_arrays": "axilla.features.arrays",
    "import_checkpoint": "axilla.study.checkpoints",
    "load_model": "axilla.deploy.loading",
    "predict_case": "axilla.deploy.predicting",
    "read_bundle": "axilla.study.bundles",
    "validate": "axilla.deploy.validating",
    "write_case": "axilla.deploy.predicting",
}
"""Where each public verb lives; imported when first asked for, as the libraries are heavy."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
