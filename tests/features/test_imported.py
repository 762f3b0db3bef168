"""Features made elsewhere: small files laid out as TRIDENT, CLAM and STAMP write them."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import axilla
from axilla.core import store
from axilla.core.errors import FeaturesError
from axilla.features.imported import patch_side, read_slide_features


def vectors(n=6, length=8, *, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(n, length)).astype(dtype)


def grid(n=6, step=512):
    """Corners of patches side by side, three a row."""
    return np.array([(step * (i % 3), step * (i // 3)) for i in range(n)])


def write_trident(path: Path, features, *, encoder: str | None = "uni_v1", step=512):
    """TRIDENT's save_h5: chunks of one row, attributes on both arrays, None as the word."""
    with h5py.File(path, "w") as file:
        for name, value in (("features", features), ("coords", grid(len(features), step))):
            file.create_dataset(
                name, data=value, maxshape=(None, *value.shape[1:]), chunks=(1, *value.shape[1:])
            )
        says = file["features"].attrs
        says["name"], says["savetodir"] = path.stem, "./features_uni_v1"
        says["encoder"] = "None" if encoder is None else encoder
        file["coords"].attrs.update(
            {
                "patch_size": 256, "patch_size_level0": step, "level0_magnification": 40,
                "target_magnification": 20, "overlap": 0, "name": path.stem,
                "savetodir": "./coords", "level0_width": 5000, "level0_height": 4000,
            }
        )  # fmt: skip


def write_clam(path: Path, features):
    """CLAM's save_hdf5 of extract_features_fp.py: chunks of 32 rows and no attribute."""
    with h5py.File(path, "w") as file:
        for name, value in (("features", features), ("coords", grid(len(features)).astype("i4"))):
            file.create_dataset(
                name, data=value, maxshape=(None, *value.shape[1:]), chunks=(32, *value.shape[1:])
            )


def write_stamp(path: Path, features, *, version="2.4.0"):
    """STAMP's files: 2.1 and later, 2.0 (`tile_size`, `unit`), and those before version 2."""
    corners = grid(len(features), 1).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["feats"] = features.astype(np.float16)
        if version.startswith("1"):
            file["coords"] = (corners * 224).astype(np.int32)
            file.attrs["extractor"] = "xiyuewang-ctranspath-7c998680"
            return
        file["coords"] = corners * 256
        file.attrs.update({"stamp_version": version, "extractor": "mahmood-uni", "unit": "um"})
        if version.startswith("2.0"):
            file.attrs["tile_size"] = 256.0
        else:
            file.attrs.update(
                {"tile_size_um": 256.0, "tile_size_px": 224, "code_hash": "0f", "feat_type": "tile"}
            )


def read(path: Path, source="auto"):
    return read_slide_features(path, patient_id="P1", source=source)


class TestTrident:
    def test_all_that_the_file_says(self, tmp_path: Path):
        features = vectors()
        write_trident(tmp_path / "s.h5", features)
        found = read(tmp_path / "s.h5")
        np.testing.assert_array_equal(found.features, features)
        np.testing.assert_array_equal(found.coords, grid())
        assert (found.source, found.encoder, found.unit) == ("trident", "uni_v1", "px")
        assert (found.patch_size, patch_side(found)) == (512.0, 512.0)

    def test_a_leading_one_and_an_encoder_that_is_not_known(self, tmp_path: Path):
        features = vectors(dtype=np.float16)
        write_trident(tmp_path / "s.h5", features, encoder=None)
        with h5py.File(tmp_path / "s.h5", "a") as file:
            attrs = dict(file["features"].attrs)
            del file["features"]
            file.create_dataset("features", data=features[None]).attrs.update(attrs)
        found = read(tmp_path / "s.h5")
        assert found.features.dtype == np.float16
        np.testing.assert_array_equal(found.features, features)
        assert found.encoder is None
        assert found.source == "trident"


def test_clam_says_nothing_and_the_patch_is_the_step(tmp_path: Path):
    write_clam(tmp_path / "s.h5", vectors())
    found = read(tmp_path / "s.h5")
    assert (found.source, found.encoder, found.patch_size) == ("clam", None, None)
    assert patch_side(found) == 512.0
    np.testing.assert_array_equal(found.coords, grid())


def test_grids_of_several_pieces_of_tissue_do_not_line_up(tmp_path: Path):
    piece = grid()
    second = piece + np.array([piece[:, 0].max() + 5168, 560])
    alone = [[100_000, 7]]  # a patch far from all
    coords = np.concatenate([piece, second, alone]).astype(np.int64)
    features = np.resize(vectors(), (len(coords), vectors().shape[1]))
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"], file["coords"] = features, coords
    assert patch_side(read(tmp_path / "s.h5")) == 512.0


@pytest.mark.parametrize("version", ["1", "2.0.1", "2.4.0"])
def test_stamp_of_every_version_is_in_micrometres(tmp_path: Path, version):
    write_stamp(tmp_path / "s.h5", vectors(), version=version)
    found = read(tmp_path / "s.h5")
    assert (found.source, found.unit, found.patch_size) == ("stamp", "µm", 256.0)
    np.testing.assert_allclose(found.coords, grid(6, 256))
    expected = "xiyuewang-ctranspath-7c998680" if version == "1" else "mahmood-uni"
    assert found.encoder == expected
    np.testing.assert_array_equal(found.features, vectors().astype(np.float16))


def test_stamp_without_a_known_unit_has_no_coordinates(tmp_path: Path):
    write_stamp(tmp_path / "s.h5", vectors(), version="1")
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file["coords"][...] = file["coords"][()] // 2
    assert read(tmp_path / "s.h5").coords is None


def test_stamps_features_of_a_whole_slide_are_refused(tmp_path: Path):
    write_stamp(tmp_path / "s.h5", vectors())
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file.attrs["feat_type"] = "slide"
    with pytest.raises(FeaturesError, match="features of a whole slide, not of its tiles"):
        read(tmp_path / "s.h5")


def test_our_own_files_too(tmp_path: Path):
    value = store.Features(vectors(), grid().astype(np.int32), "resnet50", "d", 256, None)
    store.write_features(tmp_path / "s.h5", value, key="k")
    found = read(tmp_path / "s.h5")
    assert (found.source, found.encoder) == ("axilla", "resnet50")
    np.testing.assert_array_equal(found.coords, grid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_have_no_coordinates(tmp_path: Path, dtype):
    tensor = torch.from_numpy(vectors()).to(dtype)
    torch.save(tensor, tmp_path / "s.pt")
    found = read(tmp_path / "s.pt")
    np.testing.assert_array_equal(found.features, tensor.float().numpy())
    assert found.features.dtype == (np.float16 if dtype == torch.float16 else np.float32)
    assert (found.source, found.coords, patch_side(found)) == ("pt", None, None)


class TestWrongFiles:
    def refused(self, path: Path, source="auto") -> str:
        with pytest.raises(FeaturesError) as caught:
            read(path, source)
        problem = caught.value.problem
        assert (problem.patient, problem.file) == ("P1", path)
        assert problem.remedy
        return problem.cause

    @pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.5, 0.9, 0.999])
    def test_cut_short(self, tmp_path: Path, share):
        path = tmp_path / "s.h5"
        write_trident(path, vectors(200, 64))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        assert self.refused(path).startswith("the file is cut short or no HDF5")

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_a_tensor_cut_short(self, tmp_path: Path, share):
        path = tmp_path / "s.pt"
        torch.save(torch.zeros(200, 64), path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        assert self.refused(path).startswith("the file is cut short, or holds something else")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_no_numbers(self, tmp_path: Path, value):
        features = vectors()
        features[2:4, 1] = value
        write_clam(tmp_path / "s.h5", features)
        assert self.refused(tmp_path / "s.h5") == (
            "the features of 2 patches are no finite numbers."
        )

    def test_no_patch(self, tmp_path: Path):
        # What TRIDENT writes for a slide without tissue.
        with h5py.File(tmp_path / "s.h5", "w") as file:
            file["features"], file["coords"] = np.empty(0, "f4"), np.empty((0, 2), "i8")
        assert self.refused(tmp_path / "s.h5") == "the features hold no patch."

    def test_coordinates_of_other_patches(self, tmp_path: Path):
        with h5py.File(tmp_path / "s.h5", "w") as file:
            file["features"], file["coords"] = vectors(), grid(5)
        assert self.refused(tmp_path / "s.h5") == (
            "there are 6 patches, but the coordinates are [5, 2], not [6, 2]."
        )

    def test_another_layout_than_the_study_says(self, tmp_path: Path):
        write_clam(tmp_path / "s.h5", vectors())
        assert self.refused(tmp_path / "s.h5", "stamp") == (
            "the file is laid out as clam writes it, but features.format is stamp."
        )

    def test_sizes_and_coordinates_that_are_no_numbers(self, tmp_path: Path):
        said = "its coordinates or the size of its patches are no numbers"
        write_stamp(tmp_path / "words.h5", vectors())
        with h5py.File(tmp_path / "words.h5", "a") as file:
            file.attrs["tile_size_um"] = "256um"
        write_stamp(tmp_path / "flat.h5", vectors(), version="1")
        with h5py.File(tmp_path / "flat.h5", "a") as file:
            del file["coords"]
            file["coords"] = np.arange(5)
        write_clam(tmp_path / "text.h5", vectors())
        with h5py.File(tmp_path / "text.h5", "a") as file:
            del file["coords"]
            file["coords"] = [[b"a", b"b"]] * 6
        write_trident(tmp_path / "side.h5", vectors())
        with h5py.File(tmp_path / "side.h5", "a") as file:
            file["coords"].attrs["patch_size_level0"] = "large"
        for name in ("words", "text", "side"):
            assert self.refused(tmp_path / f"{name}.h5").startswith(said), name
        assert self.refused(tmp_path / "flat.h5")

    def test_no_features_in_it(self, tmp_path: Path):
        with h5py.File(tmp_path / "s.h5", "w") as file:
            file["coords"] = grid()
        assert "holds neither `features` nor `feats` (coords)" in self.refused(tmp_path / "s.h5")

    def test_whole_numbers_and_a_group(self, tmp_path: Path):
        with h5py.File(tmp_path / "s.h5", "w") as file:
            file["features"] = grid()
        assert "not numbers [n, D]" in self.refused(tmp_path / "s.h5")
        with h5py.File(tmp_path / "g.h5", "w") as file:
            file.create_group("features")
        assert "is no array of the file itself" in self.refused(tmp_path / "g.h5")

    def test_a_file_that_points_elsewhere_is_not_followed(self, tmp_path: Path):
        secret = tmp_path / "secret.bin"
        vectors().tofile(secret)
        write_clam(tmp_path / "other.h5", vectors())
        with h5py.File(tmp_path / "s.h5", "w") as file:
            file["features"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "features")
        assert "is no array of the file itself" in self.refused(tmp_path / "s.h5")
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file.create_dataset("features", (6, 8), "f4", external=[(str(secret), 0, 192)])
        assert "is no array of the file itself" in self.refused(tmp_path / "t.h5")

    def test_a_size_that_cannot_be(self, tmp_path: Path):
        with h5py.File(tmp_path / "s.h5", "w") as file:  # a chunked array takes no room
            file.create_dataset("features", (2**32, 1024), "f4", chunks=(1, 1024))
        assert "too large for one slide" in self.refused(tmp_path / "s.h5")

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path: Path):
        class Bomb:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "pwned",))

        torch.save(Bomb(), tmp_path / "a.pt")
        (tmp_path / "b.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
        for name in ("a.pt", "b.pt"):
            assert "holds something else than a tensor" in self.refused(tmp_path / name)
        assert not (tmp_path / "pwned").exists()
        torch.save({"features": torch.zeros(2, 3)}, tmp_path / "c.pt")
        assert self.refused(tmp_path / "c.pt") == "the file holds no tensor."


class TestArrays:
    def test_what_is_written_is_read(self, tmp_path: Path):
        features = vectors(dtype=np.float64)
        path = axilla.features_from_arrays(
            tmp_path, "S1", features, coords=grid(), patch_size=512, encoder="mine"
        )
        assert path == tmp_path / "S1.h5"
        found = read(path)
        np.testing.assert_array_equal(found.features, features.astype(np.float32))
        np.testing.assert_array_equal(found.coords, grid())
        assert (found.encoder, found.patch_size, found.source) == ("mine", 512.0, "trident")

    def test_without_coordinates(self, tmp_path: Path):
        found = read(axilla.features_from_arrays(tmp_path, "S1", vectors()))
        assert (found.coords, found.encoder) == (None, None)

    @pytest.mark.parametrize(
        ("slide", "change", "cause"),
        [
            ("../S1", {}, "cannot be a file's name"),
            ("S1", {"coords": np.zeros((5, 2))}, "the coordinates are \\[5, 2\\]"),
            ("S1", {"features": np.full((2, 3), np.nan)}, "2 patches are no finite numbers"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, slide, change, cause):
        arguments = {"features": vectors()} | change
        with pytest.raises(FeaturesError, match=cause):
            axilla.features_from_arrays(tmp_path, slide, **arguments)
        assert not list(tmp_path.rglob("*.h5"))


def test_unknown_names_of_the_package_are_errors():
    with pytest.raises(AttributeError, match="no attribute 'features_from_array'"):
        axilla.features_from_array  # noqa: B018 - the access is what is tested
