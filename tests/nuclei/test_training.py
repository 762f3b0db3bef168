"""Training on drawn discs: the same again from the same seed, and downhill."""

from itertools import product

import cv2
import numpy as np
import pytest
import torch

from axilla.nuclei.augmentation import OutlinedImage
from axilla.nuclei.network import NucleusNet
from axilla.nuclei.training import NucleusTraining, _loss, train_network

SMALL = (4, 8, 8, 8)
SHORT = NucleusTraining(steps=4, batch=2, side_px=64, seed=3)


@pytest.fixture(scope="module")
def source():
    pixels = np.full((160, 200, 3), 240, np.uint8)
    instances = np.zeros(pixels.shape[:2], np.int32)
    for number, (y, x) in enumerate(product(range(20, 150, 30), range(20, 190, 30)), start=1):
        cv2.circle(pixels, (x, y), 9, (80, 50, 120), -1)
        cv2.circle(instances, (x, y), 9, number, -1)
    return OutlinedImage(pixels, instances)


def changed(config, **settings):
    return NucleusTraining(**{name: getattr(config, name) for name in config.__slots__} | settings)


def trained(source, config=SHORT, **settings):
    """Weights after a short training of a small network."""
    torch.manual_seed(0)
    start = NucleusNet(SMALL)
    return train_network([source], config=changed(config, **settings), start=start).state_dict()


def are_equal(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_the_same_seed_gives_the_same_weights(source):
    first = train_network([source], config=SHORT)
    again = train_network([source], config=SHORT)
    assert are_equal(first.state_dict(), again.state_dict())
    assert not first.training
    other = train_network([source], config=changed(SHORT, seed=4))
    assert not are_equal(first.state_dict(), other.state_dict())


def test_the_seed_draws_the_samples_too(source):
    assert are_equal(trained(source), trained(source))
    assert not are_equal(trained(source), trained(source, seed=4))


def test_the_loss_falls(source):
    losses = []
    torch.manual_seed(0)
    train_network(
        [source], config=changed(SHORT, steps=40, rate=1e-2), start=NucleusNet(SMALL),
        told=lambda step, loss: losses.append((step, loss)),
    )  # fmt: skip
    steps, values = zip(*losses, strict=True)
    assert steps == tuple(range(1, 41))
    assert np.mean(values[-10:]) < 0.8 * np.mean(values[:10])


def test_a_network_that_is_trained_further_stays_as_it_was(source):
    torch.manual_seed(0)
    start = NucleusNet(SMALL)
    kept = {name: value.clone() for name, value in start.state_dict().items()}
    found = train_network([source], config=SHORT, start=start)
    assert are_equal(kept, start.state_dict())
    assert found.widths == SMALL
    assert not are_equal(kept, found.state_dict())


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 21])
def test_any_number_of_steps_can_be_learned(source, steps):
    heard = []
    torch.manual_seed(0)
    train_network(
        [source], config=changed(SHORT, steps=steps, batch=1, side_px=16), start=NucleusNet((2, 3)),
        told=lambda step, loss: heard.append(step),
    )  # fmt: skip
    assert heard == list(range(1, steps + 1))


def test_weights_are_shares_also_as_whole_numbers(source):
    counted = OutlinedImage(source.image, source.instances, weight=25)
    assert are_equal(trained(counted), trained(source))


def test_images_of_no_weight_are_not_drawn(source):
    dark = OutlinedImage(np.zeros_like(source.image), np.zeros_like(source.instances), 0.0)
    torch.manual_seed(0)
    start = NucleusNet(SMALL)
    with_other = train_network([dark, source], config=SHORT, start=start)
    twice = train_network([source, dark], config=SHORT, start=start)
    assert are_equal(with_other.state_dict(), twice.state_dict())
    assert are_equal(with_other.state_dict(), trained(source))


@pytest.fixture
def told():
    """Output [2, 2, 8, 8] and truth [2, 8, 8] of which the left half is known."""
    torch.manual_seed(1)
    known = torch.zeros(2, 8, 8)
    known[..., :4] = 1
    nuclear = (torch.rand(2, 8, 8) > 0.5).float() * known
    return torch.randn(2, 2, 8, 8), nuclear, torch.rand(2, 8, 8) * nuclear, known


def test_pixels_that_are_not_known_do_not_matter(told):
    out, nuclear, distance, known = told
    unknown = 1 - known
    elsewhere = out + 5 * torch.randn_like(out) * unknown[:, None]
    far = distance + unknown
    assert _loss(elsewhere, nuclear, far, known) == _loss(out, nuclear, distance, known)
    out.requires_grad_()
    _loss(out, nuclear, distance, known).backward()
    gradient = out.grad.abs().sum(dim=1)
    assert gradient[known == 0].max() == 0
    assert gradient[known == 1].min() > 0


def test_the_loss_by_hand(told):
    out, nuclear, distance, known = told
    left = (slice(None), slice(None), slice(4))
    p = torch.sigmoid(out[:, 0][left])
    t, d = nuclear[left], distance[left]
    entropy = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    square = ((3 * t + 0.5) * (out[:, 1][left] - d) ** 2).mean()
    expected = float(entropy + dice + square)
    assert float(_loss(out, nuclear, distance, known)) == pytest.approx(expected, rel=1e-5)


def test_where_nothing_is_known_there_is_nothing_to_learn(told):
    out, nuclear, distance, _ = told
    nothing = torch.zeros_like(nuclear)
    assert float(_loss(out, nothing, distance, nothing)) == 0
