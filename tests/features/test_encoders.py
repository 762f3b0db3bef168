from __future__ import annotations

import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from axilla.core.config import Encoder
from axilla.core.errors import WeightsError
from axilla.features.encoders import PatchEncoder, build_encoder
from axilla.features.registry import encoder_spec
from axilla.features.small_cnn import SmallCNN
from axilla.features.spec import IMAGENET_MEAN, IMAGENET_STD
from axilla.features.torchvision_specs import TORCHVISION_SPECS
from axilla.features.weights import state_digest

LENGTHS = {
    "alexnet": 9216, "vgg16_bn": 25088, "resnet50": 2048, "densenet121": 50176,
    "inception_v3": 2048, "small_cnn": 512,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder():
    """Encoders with drawn weights, each built once."""
    built: dict[str, PatchEncoder] = {}

    def get(name: str) -> PatchEncoder:
        if name not in built:
            built[name] = build_encoder(Encoder(name=name, weights="none"), seed=1).eval()
        return built[name]

    return get


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub and no network; the folder of checkpoints."""

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def patches(n=2, side=64, *, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (n, 3, side, side), np.uint8))


@pytest.mark.parametrize("name", LENGTHS)
def test_every_encoder_gives_vectors_of_its_length(encoder, name):
    found = encoder(name)
    assert found.features == encoder_spec(name).features == LENGTHS[name]
    with torch.inference_mode():
        features = found(patches())
    assert features.shape == (2, LENGTHS[name])
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    assert features.std() > 0


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "densenet121"])
def test_features_end_in_a_relu(encoder, name):
    with torch.inference_mode():
        assert encoder(name)(patches()).min() >= 0


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "inception_v3"])
def test_a_patchs_feature_does_not_depend_on_its_companions(encoder, name):
    found = encoder(name)
    three = torch.cat([patches(), torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)])
    with torch.inference_mode():
        alone, together = found(three[:1]), found(three)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_inception_gives_features_in_training_mode_too(encoder):
    found = build_encoder(Encoder(name="inception_v3", weights="none", input_px=128), seed=1)
    assert found.training
    assert found(patches()).shape == (2, 2048)


class Catcher(nn.Module):
    """A body that gives what it is fed."""

    def forward(self, x):
        return x


def catcher(input_px, *, name="resnet50"):
    spec = encoder_spec(name)
    return PatchEncoder(spec, Catcher(), weights_digest="", input_px=input_px)


def test_resizing_is_antialiased():
    # A board of black and white pixels is grey from afar; plain bilinear sampling sees white.
    board = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    board[:, :, ::4] = 255
    board[:, :, :, ::4] = 255
    fed = catcher(16)(board).view(1, 3, 16, 16)[:, :, 2:-2, 2:-2]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    share = board[0, 0].float().mean() / 255
    torch.testing.assert_close((fed * std + mean), torch.full_like(fed, share), rtol=0, atol=0.002)


def test_resizing_is_the_same_in_training_and_prediction():
    body = catcher(32)
    torch.testing.assert_close(body.train()(patches()), body.eval()(patches()), rtol=0, atol=0)


def test_normalisation_is_that_of_imagenet():
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    fed = catcher(8)(white).view(3, 64)
    for channel in range(3):
        expected = (1 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        torch.testing.assert_close(fed[channel], torch.full((64,), expected))


@pytest.mark.parametrize(
    ("name", "input_px", "expected"),
    [("resnet50", None, 224), ("inception_v3", None, 299), ("small_cnn", None, None),
     ("inception_v3", 224, 224), ("small_cnn", 32, 32)],
)  # fmt: skip
def test_the_side_of_the_input(name, input_px, expected):
    assert catcher(input_px, name=name).input_px == expected
    side = expected or 64
    assert catcher(input_px, name=name)(patches()).shape == (2, 3 * side * side)


def test_small_cnn_serves_patches_of_every_size():
    network = SmallCNN().eval()
    with torch.inference_mode():
        for side in (16, 32, 64, 100):
            assert network(torch.zeros(1, 3, side, side)).shape == (1, 512)
    # At 32 px it is the net of Ilse 2018 as published: no pooling in between.
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        maps = network.convolutions(x)
        assert maps.shape == (1, 48, 6, 6)
        torch.testing.assert_close(network(x), network.linears(maps.flatten(1)))


def test_drawn_weights_come_from_the_seed():
    config = Encoder(name="small_cnn", weights="none", trainable=True)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build_encoder(config, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    digests = [state_digest(e.state_dict()) for e in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
    assert first.weights_digest == "none-1"


@pytest.mark.usefixtures("hub")
class TestImageNet:
    def test_neither_cache_nor_network_names_both_ways_out(self):
        with pytest.raises(WeightsError) as caught:
            build_encoder(Encoder(name="alexnet"))
        problem = caught.value.problem
        assert problem.cause == (
            "the ImageNet weights of alexnet are not on this machine and could not be downloaded "
            "(<urlopen error no route to host>)."
        )
        assert problem.remedy == (
            "Either connect this machine to the network once, or fetch the file elsewhere and set "
            "encoder.weights to its path (alexnet-owt-7be5be79.pth)."
        )

    def test_a_cached_checkpoint_of_densenet_loads(self, hub: Path):
        # The published file has names that torchvision's modules no longer have.
        torch.manual_seed(3)
        network = torchvision.models.densenet121(weights=None)
        state = network.state_dict()
        published = {}
        for name, tensor in state.items():
            old = name
            for part in ("norm1", "norm2", "conv1", "conv2"):
                if "denselayer" in name:
                    old = old.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
            if not name.endswith("num_batches_tracked"):
                published[old] = tensor
        assert "features.denseblock1.denselayer1.norm.1.weight" in published
        torch.save(published, hub / "densenet121-a639ec97.pth")
        loaded = build_encoder(Encoder(name="densenet121"))
        assert loaded.weights_digest == state_digest(published)
        for name, tensor in loaded.body[0].state_dict().items():
            assert torch.equal(tensor, state[f"features.{name}"]), name

    def test_a_cached_checkpoint_that_is_damaged(self, hub: Path):
        path = hub / "alexnet-owt-7be5be79.pth"
        path.write_bytes(b"<html>proxy</html>")
        with pytest.raises(WeightsError, match="in the cache are damaged") as caught:
            build_encoder(Encoder(name="alexnet"))
        assert caught.value.problem.file == path
        assert caught.value.problem.remedy == "Delete the file; it is then downloaded again."

    def test_small_cnn_has_none(self):
        with pytest.raises(WeightsError, match="small_cnn has no ImageNet weights"):
            build_encoder(Encoder(name="small_cnn"))


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


class TestFiles:
    @pytest.fixture
    def state(self):
        torch.manual_seed(9)
        return SmallCNN().state_dict()

    def load(self, path: Path) -> PatchEncoder:
        return build_encoder(Encoder(name="small_cnn", weights=str(path)))

    @pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped"])
    def test_a_file_loads(self, tmp_path: Path, state, kind):
        path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
        if kind == "safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": state} if kind == "wrapped" else state, path)
        loaded = self.load(path)
        assert loaded.weights_digest == state_digest(state)
        for name, tensor in loaded.body.state_dict().items():
            assert torch.equal(tensor, state[name])

    def test_weights_of_a_wrong_shape(self, tmp_path: Path, state):
        state["linears.0.weight"] = torch.zeros(512, 3)
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError) as caught:
            self.load(tmp_path / "w.safetensors")
        assert caught.value.problem.cause == (
            f"the weights `{tmp_path / 'w.safetensors'}` do not fit small_cnn: they misshape "
            "linears.0.weight (1 such)."
        )

    @pytest.mark.parametrize(
        ("change", "cause"),
        [
            ("missing", "they lack convolutions.0.bias (1 such)"),
            ("unknown", "they have unknown head.weight (1 such)"),
        ],
    )
    def test_missing_and_unknown_names(self, tmp_path: Path, state, change, cause):
        if change == "missing":
            del state["convolutions.0.bias"]
        else:
            state["head.weight"] = torch.zeros(3)
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(WeightsError) as caught:
            self.load(tmp_path / "w.pth")
        assert cause in caught.value.problem.cause

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path: Path):
        for number, save in enumerate(
            (torch.save, lambda v, p: p.write_bytes(pickle.dumps(v, protocol=2)))
        ):
            path = tmp_path / f"w{number}.pth"
            save({"state_dict": Bomb(tmp_path / "pwned")}, path)
            with pytest.raises(WeightsError, match="cannot be read safely") as caught:
                self.load(path)
            assert caught.value.problem.file == path
        assert not (tmp_path / "pwned").exists()

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
    @pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02.", b"PK\x03\x04broken"])
    def test_damaged_files(self, tmp_path: Path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=r"cannot be read safely|no state dict"):
            self.load(tmp_path / name)

    def test_a_file_that_holds_no_state_dict(self, tmp_path: Path):
        torch.save([torch.zeros(3)], tmp_path / "w.pth")
        with pytest.raises(WeightsError, match="holds no state dict"):
            self.load(tmp_path / "w.pth")
        with pytest.raises(WeightsError, match="there is no such file of weights"):
            self.load(tmp_path / "gone.pth")


def test_the_cached_files_are_those_of_torchvision():
    for name, spec in TORCHVISION_SPECS.items():
        if name != "small_cnn":
            url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
            assert url.rsplit("/", 1)[-1] == spec.imagenet_file
