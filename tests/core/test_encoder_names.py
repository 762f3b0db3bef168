"""Names of encoders in the study file, and what the schema tells an editor of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from axilla.core.config import StudyConfig
from axilla.core.config_encoder import Encoder, parse_encoder_name
from axilla.core.encoder_names import ENCODERS
from axilla.core.errors import ConfigError


@pytest.mark.parametrize("name", [*ENCODERS, "timm:vit_small_patch14_dinov2.lvd142m"])
def test_known_names(name):
    assert Encoder(name=name).name == parse_encoder_name(name) == name


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnet5", "resnet50"), ("uni2_h", "uni2-h"), ("h_optimus_0", "h-optimus-0")],
)
def test_an_unknown_name_gives_the_nearest(name, nearest):
    with pytest.raises(ConfigError) as caught:
        parse_encoder_name(name)
    assert f"`name` is '{name}', but may be alexnet, vgg16_bn" in str(caught.value)
    assert f"(did you mean `{nearest}`?)" in str(caught.value)


@pytest.mark.parametrize("name", ["timm:", "timm:../x", "timm:a/b", "timm:hf-hub:a", "TIMM:x"])
def test_a_timm_name_cannot_leave_its_folder(name):
    with pytest.raises(ValidationError):
        Encoder(name=name)


def test_the_schema_lists_the_names():
    schema = StudyConfig.model_json_schema()
    name = schema["$defs"]["Encoder"]["properties"]["name"]
    assert name["anyOf"][0]["enum"] == list(ENCODERS)
    assert "features" in schema["properties"]
