from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch

from axilla.core.errors import CohortError
from axilla.mil.batches import PatientInstances, augment, batches, make_bags


def bags_of(toy, draw, **more):
    return make_bags(
        toy.patients, slides=toy.slides, draw=draw, rng=np.random.default_rng(3), **more
    )


def test_a_bag_holds_instances_of_one_slide_of_its_patient(toy, draw):
    some = toy(6, seed=0)
    bags = bags_of(some, draw)
    for bag in bags:
        assert bag.slide_id in bag.patient.slides
        assert len(set(bag.indices.tolist())) == len(bag.indices)
        assert bag.indices.max() < len(some.slides[bag.slide_id])
        assert bag.weight == 1.0
    expected = sum(max(1, len(x) // 5) for x in some.slides.values())
    assert len(bags) == expected
    assert [bag.patient.patient_id for bag in bags] == sorted(
        (bag.patient.patient_id for bag in bags), key=lambda name: int(name[1:])
    )


def test_weighting_by_patient_lets_every_patient_weigh_the_same(toy, draw):
    some = toy(9, seed=1)
    bags = bags_of(some, draw, weight_by="patient")
    total = defaultdict(float)
    for bag in bags:
        total[bag.patient.patient_id] += bag.weight
    assert len(total) == 9
    assert max(total.values()) == pytest.approx(min(total.values()))
    assert np.mean([bag.weight for bag in bags]) == pytest.approx(1)
    assert {bag.weight for bag in bags_of(some, draw, weight_by="bag")} == {1.0}


def test_at_most_so_many_bags_of_a_patient(toy, draw):
    some = toy(9, seed=2)
    everything = bags_of(some, draw)
    few = bags_of(some, draw, per_patient=2, weight_by="patient")
    count = defaultdict(int)
    for bag in everything:
        count[bag.patient.patient_id] += 1
    kept = defaultdict(list)
    for bag in few:
        kept[bag.patient.patient_id].append(bag)
    assert {p: len(b) for p, b in kept.items()} == {p: min(2, n) for p, n in count.items()}
    totals = [sum(bag.weight for bag in b) for b in kept.values()]
    assert max(totals) == pytest.approx(min(totals))
    drawn = {(bag.slide_id, tuple(bag.indices)) for bag in everything}
    assert {(bag.slide_id, tuple(bag.indices)) for bag in few} <= drawn


def test_a_patient_without_patches_does_not_vanish(toy, draw):
    some = toy(2, seed=0)
    slides = {**some.slides, "empty": np.zeros((0, 12), np.float32)}
    gone = PatientInstances("gone", 0, ("empty",), None)
    with pytest.raises(CohortError, match="patient gone: no patch of the slides was kept"):
        make_bags([*some.patients, gone], slides=slides, draw=draw, rng=np.random.default_rng(0))


def test_batches_hold_every_bag_in_order(toy, draw):
    some = toy(7, seed=4, clinical=3)
    bags = bags_of(some, draw, weight_by="patient")
    found = list(batches(bags, slides=some.slides, size=4))
    assert [len(batch.lengths) for batch in found[:-1]] == [4] * (len(found) - 1)
    parts = [part for batch in found for part in batch.instances.split(batch.lengths)]
    assert len(parts) == len(bags)
    for part, bag in zip(parts, bags, strict=True):
        np.testing.assert_array_equal(part.numpy(), some.slides[bag.slide_id][bag.indices])
    clinical = torch.cat([batch.clinical for batch in found])
    expected = np.stack([bag.patient.clinical for bag in bags]).astype(np.float32)
    np.testing.assert_array_equal(clinical.numpy(), expected)
    labels = torch.cat([batch.labels for batch in found]).tolist()
    assert labels == [bag.patient.label for bag in bags]
    weights = torch.cat([batch.weights for batch in found]).numpy()
    np.testing.assert_allclose(weights, [bag.weight for bag in bags], rtol=1e-6)


def test_patches_come_channels_first(draw):
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    bags = make_bags(
        [PatientInstances("a", 1, ("s",), None)], slides={"s": pixels}, draw=draw,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    (batch,) = batches(bags, slides={"s": pixels}, size=3)
    assert batch.instances.shape == (2, 3, 4, 5)
    assert batch.instances.dtype == torch.uint8
    assert batch.clinical is None
    expected = pixels[bags[0].indices[0]].transpose(2, 0, 1)
    np.testing.assert_array_equal(batch.instances[0].numpy(), expected)


class TestAugment:
    def generator(self, seed=0):
        return torch.Generator().manual_seed(seed)

    def test_shape_type_and_range(self):
        pixels = torch.randint(256, (20, 3, 9, 9), generator=self.generator()).to(torch.uint8)
        found = augment(pixels, generator=self.generator(), stain_sd=0.5)
        assert found.shape == pixels.shape
        assert found.dtype == torch.float32
        assert found.min() >= 0
        assert found.max() <= 255

    def test_the_seed_decides(self):
        pixels = torch.randint(256, (6, 3, 8, 8), generator=self.generator()).to(torch.uint8)
        first, again, other = (augment(pixels, generator=self.generator(s)) for s in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_without_stain_each_patch_is_one_of_the_eight_of_its_dihedral_group(self):
        tile = torch.randint(1, 256, (1, 3, 4, 4), generator=self.generator()).to(torch.uint8)
        group = [
            torch.rot90(image, k, (1, 2)) for image in (tile[0], tile[0].flip(2)) for k in range(4)
        ]
        found = augment(tile.expand(200, -1, -1, -1), generator=self.generator(), stain_sd=0)
        hits = [
            [i for i, member in enumerate(group) if torch.allclose(one, member.float(), atol=0.01)]
            for one in found
        ]
        assert all(len(hit) == 1 for hit in hits)
        assert {hit[0] for hit in hits} == set(range(8))

    def test_stain_varies_and_glass_stays_white(self):
        pixels = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
        pixels[1] = torch.tensor([150, 90, 160], dtype=torch.uint8).view(3, 1, 1)
        found = augment(pixels, generator=self.generator(), stain_sd=0.2)
        torch.testing.assert_close(found[0], torch.full((3, 4, 4), 255.0))
        assert (found[1] - pixels[1]).abs().max() > 1
