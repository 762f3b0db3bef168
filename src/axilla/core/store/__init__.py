"""The only reader and writer of our artefacts.

Every artefact is written under a temporary name, flushed and renamed, so that a killed run leaves
either the whole file or none; each carries its schema version and the key of the step that made it.
"""

from axilla.core.store.atomic import (
    digest,
    file_identity,
    sweep,
    text_digest,
    write_bytes,
    write_text,
    writing,
)
from axilla.core.store.feature_facts import read_computing, read_weights_digest
from axilla.core.store.feature_rows import FeatureRows, open_features, plain_rows
from axilla.core.store.features import Features, read_features, read_features_key, write_features
from axilla.core.store.grids import read_grid, read_grid_key, write_grid
from axilla.core.store.lock import locked
from axilla.core.store.model_record import ModelRecord
from axilla.core.store.models import (
    StoredModel,
    read_model,
    read_model_key,
    read_model_record,
    write_model,
)
from axilla.core.store.overlays import write_overlay
from axilla.core.store.records import (
    SCHEMA_VERSION,
    as_json,
    read_json,
    read_predictions,
    write_json,
    write_predictions,
)
from axilla.core.store.steps import forget_step, step_files, step_is_done, write_step
from axilla.core.store.training_state import (
    TrainingState,
    read_training_state,
    write_training_state,
)

__all__ = [
    "SCHEMA_VERSION",
    "FeatureRows",
    "Features",
    "ModelRecord",
    "StoredModel",
    "TrainingState",
    "as_json",
    "digest",
    "file_identity",
    "forget_step",
    "locked",
    "open_features",
    "plain_rows",
    "read_computing",
    "read_features",
    "read_features_key",
    "read_grid",
    "read_grid_key",
    "read_json",
    "read_model",
    "read_model_key",
    "read_model_record",
    "read_predictions",
    "read_training_state",
    "read_weights_digest",
    "step_files",
    "step_is_done",
    "sweep",
    "text_digest",
    "write_bytes",
    "write_features",
    "write_grid",
    "write_json",
    "write_model",
    "write_overlay",
    "write_predictions",
    "write_step",
    "write_text",
    "write_training_state",
    "writing",
]
