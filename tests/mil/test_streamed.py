"""Features in files or in memory, in bfloat16 or float32: what changes and what must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from axilla.core import store
from axilla.core.config import Aggregator, Bags, Training
from axilla.mil.batches import batches, make_bags
from axilla.mil.model import DLCNB
from axilla.mil.training import TrainingData, train

WIDTH = 12


@pytest.fixture
def halves(toy):
    fit, validate = toy(24, seed=1, name="t"), toy(12, seed=2, name="v")
    slides = {**fit.slides, **validate.slides}
    return fit, validate, {name: x.astype(np.float16) for name, x in slides.items()}


class Files(dict):
    """No plain dict, so that batches are read ahead."""


def in_files(slides, folder):
    found = Files()
    for name, x in slides.items():
        value = store.Features(x, np.zeros((len(x), 2), np.int32), "e", "w", 256, None)
        store.write_features(folder / f"{name}.h5", value, key="k")
        found[name] = store.open_features(folder / f"{name}.h5")
        assert isinstance(found[name], store.FeatureRows)
    return found


def weights(halves, slides, draw, precision):
    fit, validate, _ = halves
    data = TrainingData(
        train=fit.patients, val=validate.patients, slides=slides, draw=draw, classes=2
    )
    model, history = train(
        lambda: DLCNB(
            encoder=None, features=WIDTH, clinical=0, classes=2,
            config=Aggregator(width=16, attention=8),
        ),
        data,
        config=Training(epochs=4, lr=0.01, batch_size=8, precision=precision),
        bags=Bags(size=5),
        seed=3,
    )  # fmt: skip
    return model.state_dict(), [(e.train_loss, e.val_loss, e.val_auc) for e in history.epochs]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_from_files_give_the_weights_that_arrays_give(halves, draw, tmp_path, precision):
    held, told = weights(halves, halves[2], draw, precision)
    read, told_again = weights(halves, in_files(halves[2], tmp_path), draw, precision)
    assert told == told_again
    assert all(torch.equal(read[name], value) for name, value in held.items())
    assert {value.dtype for value in held.values()} == {torch.float32}


def test_bfloat16_learns_what_float32_learns(halves, draw):
    _, exact = weights(halves, halves[2], draw, "float32")
    _, short = weights(halves, halves[2], draw, "bfloat16")
    assert short != exact
    assert [e[0] for e in short] == pytest.approx([e[0] for e in exact], rel=0.05)


def test_bfloat16_batches_are_rounded_to_the_nearest(halves, draw):
    fit, _, slides = halves
    bags = make_bags(fit.patients, slides=slides, draw=draw, rng=np.random.default_rng(0))
    plain = list(batches(bags, slides=slides, size=7))
    short = list(batches(bags, slides=slides, size=7, dtype=torch.bfloat16))
    assert len(plain) == len(short) == -(-len(bags) // 7)
    for a, b in zip(plain, short, strict=True):
        assert a.lengths == b.lengths
        assert a.instances.dtype == torch.float16
        assert torch.equal(a.instances.to(torch.bfloat16), b.instances)
