"""Encoders trained on pathology, at full size without values and tiny with them; timm by name."""

from __future__ import annotations

import builtins
import dataclasses
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError
from safetensors.torch import save_file

from axilla.core.config_encoder import Encoder
from axilla.core.encoder_names import ENCODERS, PATHOLOGY_ENCODERS
from axilla.core.errors import ConfigError, WeightsError
from axilla.features import hub, pathology, registry
from axilla.features.availability import all_encoders, encoder_availability
from axilla.features.encoders import PatchEncoder, build_encoder, check_encoder
from axilla.features.registry import encoder_spec
from axilla.features.spec import IMAGENET_MEAN, IMAGENET_STD
from axilla.features.timm_models import build_timm

# As the authors publish them: input, length of the vector, millions of parameters.
CARDS = {
    "uni": (224, 1024, 303),
    "uni2-h": (224, 1536, 681),
    "conch": (448, 512, 88),
    "virchow2": (224, 2560, 631),
    "h-optimus-0": (224, 1536, 1135),
    "phikon-v2": (224, 1024, 303),
    "prov-gigapath": (224, 1536, 1135),
}
TINY = {"depth": 1, "num_heads": 2, "embed_dim": 48, "img_size": 112}
"""What makes any of them small; the rest of its arguments stays."""


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no network."""

    def no_network(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    return tmp_path / "hf"


def put_in_cache(cache: Path, repository: str, name: str) -> Path:
    """A path in the cache as huggingface_hub lays it out; its folder is there."""
    home = cache / f"models--{repository.replace('/', '--')}"
    folder = home / "snapshots" / "abc123"
    folder.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc123", encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", PATHOLOGY_ENCODERS)
def test_the_architecture_is_that_of_its_card(name):
    spec = encoder_spec(name)
    side, length, millions = CARDS[name]
    with torch.device("meta"):
        body = spec.trim(spec.build()).eval()
        found = body(torch.empty(2, 3, side, side))
    assert (spec.input_px, spec.features) == (side, length)
    assert found.shape == (2, length)
    assert round(sum(p.numel() for p in body.parameters()) / 1e6) == millions


def test_normalisation_and_resizing_are_those_of_the_cards():
    for name in PATHOLOGY_ENCODERS:
        spec = encoder_spec(name)
        own = {
            "conch": (pathology.CLIP_MEAN, pathology.CLIP_STD),
            "h-optimus-0": ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)),
        }
        assert (spec.mean, spec.std) == own.get(name, (IMAGENET_MEAN, IMAGENET_STD))
        bicubic = name in {"conch", "virchow2", "prov-gigapath"}
        assert spec.interpolation == ("bicubic" if bicubic else "bilinear")
        assert spec.resize_px == (256 if name == "prov-gigapath" else None)
        assert spec.published is not None
        assert spec.published.gated == (name != "phikon-v2")


def tiny_spec(name, monkeypatch):
    """The registry's entry with a shallow, narrow network: everything else is as it was."""
    real = pathology.build_timm

    def build(encoder, architecture, **arguments):
        return real(encoder, architecture, **arguments | TINY)

    monkeypatch.setattr(pathology, "build_timm", build)
    spec = encoder_spec(name)
    if name == "conch":
        spec = dataclasses.replace(spec, build=lambda: pathology.ConchImage(width=48, heads=2))
    small = dataclasses.replace(
        spec, features=96 if name == "virchow2" else 48, input_px=112,
        resize_px=None if spec.resize_px is None else 128, step_px=1,
    )  # fmt: skip
    monkeypatch.setitem(registry.PATHOLOGY_SPECS, name, small)
    return small


def drawn_state(spec):
    generator = torch.Generator().manual_seed(7)
    state = spec.build().state_dict()
    return {n: torch.randn(t.shape, generator=generator) * 0.2 for n, t in state.items()}


def as_published(name, state):
    """A state dict under the names of the published file."""
    if name == "conch":
        others = {"logit_scale": torch.ones(()), "text.cls_emb": torch.zeros(3)}
        others["visual.attn_pool_caption.query"] = torch.zeros(4, 48)
        others["visual.proj_contrast"] = torch.zeros(48, 48)
        return {f"visual.{n}": t for n, t in state.items()} | others
    return dinov2_file(state) if name == "phikon-v2" else state


def dinov2_file(state):
    """From timm's names to those that the library transformers saves."""
    found = {"embeddings.mask_token": torch.zeros(1, 48)}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            layer, kind = name.split(".")[1], name.rsplit(".", 1)[1]
            for part, value in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[f"encoder.layer.{layer}.attention.attention.{part}.{kind}"] = value
            continue
        for ours, theirs in (
            ("cls_token", "embeddings.cls_token"),
            ("pos_embed", "embeddings.position_embeddings"),
            ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
            ("blocks.", "encoder.layer."),
            (".attn.proj.", ".attention.output.dense."),
            (".ls1.gamma", ".layer_scale1.lambda1"),
            (".ls2.gamma", ".layer_scale2.lambda1"),
        ):
            name = name.replace(ours, theirs)  # noqa: PLW2901
        found["layernorm" + name[4:] if name.startswith("norm.") else name] = tensor
    return found


def patches(n=2, side=48):
    rng = np.random.default_rng(3)
    return torch.from_numpy(rng.integers(0, 256, (n, 3, side, side), np.uint8))


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("name", PATHOLOGY_ENCODERS)
def test_a_file_loads_through_the_real_path(tmp_path: Path, monkeypatch, name, suffix):
    spec = tiny_spec(name, monkeypatch)
    state = drawn_state(spec)
    path = tmp_path / f"weights{suffix}"
    published = {n: t.contiguous() for n, t in as_published(name, state).items()}
    if suffix == ".bin":
        torch.save(published, path)
    else:
        save_file(published, path)
    config = Encoder(name=name, weights=str(path))
    check_encoder(config)
    loaded = build_encoder(config).eval()
    wanted = spec.build()
    wanted.load_state_dict(state)
    expected = PatchEncoder(spec, spec.trim(wanted), weights_digest="").eval()
    with torch.inference_mode():
        found = loaded(patches())
        torch.testing.assert_close(found, expected(patches()), rtol=0, atol=0)
    assert found.shape == (2, spec.features)
    assert found.isfinite().all()
    assert not any(p.is_meta for p in loaded.parameters())


def test_a_file_of_another_encoder_does_not_fit(tmp_path: Path, monkeypatch):
    tiny_spec("uni2-h", monkeypatch)
    uni = tiny_spec("uni", monkeypatch)
    save_file(drawn_state(uni), tmp_path / "w.safetensors")
    config = Encoder(name="uni2-h", weights=str(tmp_path / "w.safetensors"))
    for attempt in (check_encoder, build_encoder):
        with pytest.raises(WeightsError, match="do not fit uni2-h: they lack reg_token"):
            attempt(config)


def test_virchow2_is_class_token_and_mean_of_patches_without_registers(monkeypatch):
    spec = tiny_spec("virchow2", monkeypatch)
    network = spec.build().eval()
    x = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        tokens = network.forward_features(x)  # 1 class token, 4 registers, 8 x 8 patches
        found = spec.trim(network)(x)
    assert tokens.shape == (2, 69, 48)
    expected = torch.stack([torch.cat([t[0], sum(t[5:]) / 64]) for t in tokens])
    torch.testing.assert_close(found, expected)


def test_phikons_names_give_what_a_plain_dinov2_gives(monkeypatch):
    spec = tiny_spec("phikon-v2", monkeypatch)
    state = drawn_state(spec)
    file = dinov2_file(state)
    network = spec.build().eval()
    network.load_state_dict(pathology.dinov2_names(file))
    x = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), plain_dinov2(file, x), rtol=1e-4, atol=1e-5)


def plain_dinov2(w, x):
    """One layer of DINOv2, two heads, written out, with the names of the published file."""

    def linear(value, name):
        return F.linear(value, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(value, name):
        return F.layer_norm(value, (48,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)

    at = "encoder.layer.0"
    projection = "embeddings.patch_embeddings.projection"
    tokens = F.conv2d(x, w[f"{projection}.weight"], w[f"{projection}.bias"], stride=16)
    tokens = tokens.flatten(2).transpose(1, 2)
    first = w["embeddings.cls_token"].expand(len(x), -1, -1)
    h = torch.cat([first, tokens], dim=1) + w["embeddings.position_embeddings"]
    normed = norm(h, f"{at}.norm1")
    q, k, v = (
        linear(normed, f"{at}.attention.attention.{part}").unflatten(2, (2, 24)).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    weights = (q @ k.transpose(2, 3) / 24**0.5).softmax(dim=-1)
    mixed = linear((weights @ v).transpose(1, 2).flatten(2), f"{at}.attention.output.dense")
    h = h + w[f"{at}.layer_scale1.lambda1"] * mixed
    hidden = F.gelu(linear(norm(h, f"{at}.norm2"), f"{at}.mlp.fc1"))
    h = h + w[f"{at}.layer_scale2.lambda1"] * linear(hidden, f"{at}.mlp.fc2")
    return norm(h, "layernorm")[:, 0]


def test_conchs_pooling_is_softmax_attention_of_one_query():
    torch.manual_seed(2)
    pool = pathology.QueryPool(width=6, context=10, heads=1).eval()
    torch.nn.init.normal_(pool.query)
    tokens = torch.randn(3, 5, 10)
    attn = pool.attn
    bias_q, bias_k, bias_v = attn.in_proj_bias.chunk(3)
    keys = pool.ln_k(tokens)
    q = pool.ln_q(pool.query) @ attn.q_proj_weight.T + bias_q
    k = keys @ attn.k_proj_weight.T + bias_k
    v = keys @ attn.v_proj_weight.T + bias_v
    expected = ((q @ k.transpose(1, 2)) / 6**0.5).softmax(dim=-1) @ v
    with torch.inference_mode():
        torch.testing.assert_close(pool(tokens), attn.out_proj(expected)[:, 0])


class Catcher(torch.nn.Module):
    def forward(self, x):
        return x


def test_gigapath_takes_the_inner_part_and_an_own_side_the_whole():
    spec = encoder_spec("prov-gigapath")
    frame = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    frame[:, :, 16:240, 16:240] = 255
    white = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    fed = PatchEncoder(spec, Catcher(), weights_digest="")(frame).view(3, 224, 224)
    torch.testing.assert_close(fed, white.view(3, 1, 1).expand(3, 224, 224))
    whole = PatchEncoder(spec, Catcher(), weights_digest="", input_px=256)(frame)
    assert whole.shape == (1, 3 * 256 * 256)
    assert whole.view(3, 256, 256)[0, 0, 0] < 0


def test_bicubic_does_not_leave_the_range_of_bytes():
    spec = dataclasses.replace(encoder_spec("virchow2"), mean=(0.0,) * 3, std=(1.0,) * 3)
    board = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    board[..., 32:] = 255
    fed = PatchEncoder(spec, Catcher(), weights_digest="")(board)
    assert (fed.min(), fed.max()) == (0, 1)


def test_a_side_that_is_no_multiple_of_the_patch():
    with pytest.raises(ConfigError) as caught:
        check_encoder(Encoder(name="uni2-h", weights="none", input_px=230))
    problem = caught.value.problem
    assert problem.cause == "encoder.input_px is 230, but uni2-h takes multiples of 14."
    assert problem.remedy == "Set encoder.input_px to 224, or leave it out for 224."


class TestPublished:
    def test_the_default_of_those_for_pathology(self):
        assert Encoder(name="uni").weights == "published"
        assert Encoder(name="resnet50").weights == Encoder().weights == "imagenet"
        assert Encoder(name="timm:resnet18").weights == "imagenet"

    def test_from_the_cache_whatever_the_spelling(self, cache: Path, monkeypatch):
        spec = tiny_spec("uni", monkeypatch)
        state = drawn_state(spec)
        path = put_in_cache(cache, "MahmoodLab/uni", "pytorch_model.bin")
        assert not encoder_availability("uni").ready
        torch.save(state, path)
        assert encoder_availability("uni").ready
        loaded = build_encoder(Encoder(name="uni"))
        assert torch.equal(loaded.body.cls_token, state["cls_token"])

    @pytest.mark.usefixtures("cache")
    def test_neither_cache_nor_network_names_both_ways_out(self):
        with pytest.raises(WeightsError) as caught:
            check_encoder(Encoder(name="virchow2"))
        problem = caught.value.problem
        assert problem.cause == (
            "the weights of virchow2 are not on this machine and could not be downloaded "
            "(no connection)."
        )
        assert problem.remedy == (
            "Either connect this machine to the network once. Accept the terms on "
            "huggingface.co/paige-ai/Virchow2 with your account, then log in here: hf auth login. "
            "Or fetch pytorch_model.bin of paige-ai/Virchow2 elsewhere and set encoder.weights to "
            "its path."
        )

    @pytest.mark.usefixtures("cache")
    def test_gated_without_access(self, monkeypatch):
        class GatedError(GatedRepoError):
            def __init__(self) -> None:
                Exception.__init__(self, "403")

        def refuse(*_: object, **__: object) -> None:
            raise GatedError

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
        with pytest.raises(WeightsError, match="this account has no access yet") as caught:
            check_encoder(Encoder(name="conch"))
        assert "Accept the terms on huggingface.co/MahmoodLab/CONCH" in str(caught.value)

    def test_words_that_an_encoder_does_not_know(self):
        with pytest.raises(WeightsError, match="encoder uni has no ImageNet weights") as caught:
            check_encoder(Encoder(name="uni", weights="imagenet"))
        assert caught.value.problem.remedy == "Set encoder.weights: published, or give a file."
        with pytest.raises(WeightsError, match="encoder resnet50 has no published weights"):
            check_encoder(Encoder(name="resnet50", weights="published"))


class TestTimm:
    def test_what_it_is_fed_is_what_timm_says(self):
        spec = encoder_spec("timm:vit_small_patch16_224")
        assert (spec.input_px, spec.features, spec.step_px) == (224, 384, 16)
        assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        assert spec.interpolation == "bicubic"
        assert spec.published is not None
        assert spec.published.repository == "timm/vit_small_patch16_224.augreg_in21k_ft_in1k"
        # Length with its last layer, not timm's num_features.
        assert encoder_spec("timm:mobilenetv3_small_050").features == 1024

    @pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit"])
    def test_drawn_and_from_a_file(self, tmp_path: Path, name):
        drawn = build_encoder(Encoder(name=name, weights="none"), seed=3).eval()
        # A file with the classifier, as timm publishes them.
        torch.manual_seed(1)
        whole = timm.create_model(name.removeprefix("timm:"), pretrained=False)
        save_file(whole.state_dict(), tmp_path / "w.safetensors")
        config = Encoder(name=name, weights=str(tmp_path / "w.safetensors"))
        check_encoder(config)
        loaded = build_encoder(config).eval()
        for name_, tensor in loaded.body.state_dict().items():
            assert torch.equal(tensor, whole.state_dict()[name_])
        with torch.inference_mode():
            assert drawn(patches()).shape == loaded(patches()).shape == (2, drawn.features)

    def test_imagenet_weights_come_from_the_cache(self, cache: Path):
        torch.manual_seed(1)
        whole = timm.create_model("test_resnet", pretrained=False)
        repository = encoder_spec("timm:test_resnet").published.repository
        save_file(whole.state_dict(), put_in_cache(cache, repository, "model.safetensors"))
        loaded = build_encoder(Encoder(name="timm:test_resnet"))
        assert torch.equal(loaded.body.conv1[0].weight, whole.conv1[0].weight)

    def test_an_unknown_model_names_the_nearest(self):
        with pytest.raises(ConfigError, match="Did you mean `timm:vit_small_patch16_224`"):
            check_encoder(Encoder(name="timm:vit_smal_patch16_224", weights="none"))
        with pytest.raises(ConfigError, match=r"has no weights 'resnet18\.nowhere'"):
            check_encoder(Encoder(name="timm:resnet18.nowhere", weights="none"))

    def test_without_timm(self, monkeypatch):
        real = builtins.__import__

        def absent(name, *args, **kwargs):
            if name.split(".")[0] == "timm":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", absent)
        for name in ("timm:resnet10t", "h-optimus-0"):
            with pytest.raises(WeightsError, match="needs the library timm") as caught:
                check_encoder(Encoder(name=name, weights="none"))
            assert "pip install 'axilla[timm]'" in caught.value.problem.remedy


class TestAvailability:
    def test_every_name_is_there_and_nothing_is_loaded(self, cache: Path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(cache))

        def must_not(*_: object, **__: object) -> None:
            raise AssertionError("something was built or downloaded")

        for module, name in (
            (pathology, "build_timm"), (torch, "load"), (huggingface_hub, "hf_hub_download"),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, must_not)
        found = {one.name: one for one in all_encoders()}
        assert tuple(found) == ENCODERS
        assert {name for name, one in found.items() if one.ready} == {"small_cnn"}
        assert "Accept the terms on huggingface.co/MahmoodLab/UNI2-h" in found["uni2-h"].state
        assert found["phikon-v2"].state.startswith("weights not here")
        assert found["virchow2"].terms == "CC BY-NC-ND 4.0: academic research only"

    def test_a_cached_file_of_torchvision_counts(self, tmp_path: Path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        folder = tmp_path / "hub" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "resnet50-0676ba61.pth").touch()
        assert encoder_availability("resnet50").ready
        assert not encoder_availability("alexnet").ready

    def test_a_missing_library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert encoder_availability("uni").state == ("library missing: pip install 'axilla[timm]'")


def test_nothing_is_cached_where_huggingface_hub_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    published = encoder_spec("uni").published
    assert hub.cached_file(published) is None
    with pytest.raises(WeightsError, match="huggingface_hub, which is not installed"):
        hub.hub_file("uni", published)


def test_timm_networks_have_no_classifier():
    with torch.device("meta"):
        names = build_timm("x", "test_vit").state_dict()
    assert not [name for name in names if name.startswith("head")]
