"""IDX files under the names and folders that people have them in, with labels of any kind."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import NAMES, pictures, write_idx

from viz_diffusion.data import load_data_set, load_digits, to_bytes
from viz_diffusion.data.idx import find_idx, name_labels
from viz_diffusion.errors import VizdiffInputError

DOTTED = [name.replace("-idx", ".idx") for name in NAMES]
EMNIST = [
    f"emnist-letters-{split}-{kind}-idx{n}-ubyte"
    for split in ("train", "test")
    for kind, n in (("images", 3), ("labels", 1))
]
SHORT = ["train-images.idx3", "train-labels.idx1", "test-images.idx3", "test-labels.idx1"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw", "FashionMNIST/raw", "a/b/c"])
@pytest.mark.parametrize(
    "names", [NAMES, DOTTED, SHORT, [name.upper() for name in NAMES]], ids=["-", ".", "short", "A"]
)
def test_usual_names_and_levels_are_read(names: list[str], inside: str, packed: bool, tmp_path: Path) -> None:
    write_idx(tmp_path / inside, range(10), names, packed=packed)
    data = load_data_set(tmp_path)
    assert data.train.labels.tolist() == data.test.labels.tolist() == list(range(10))
    assert data.class_names == ()
    np.testing.assert_array_equal(to_bytes(data.train.images), pictures(range(10)))


def test_a_file_may_lie_in_a_folder_of_its_own_name(tmp_path: Path) -> None:
    for name in DOTTED:
        write_idx(tmp_path / name, range(10), [name] if "images" in name else ["x", name])
        (tmp_path / name / "x").unlink(missing_ok=True)
    assert len(load_data_set(tmp_path).train) == 10


def test_letters_of_emnist_are_called_a_to_z(tmp_path: Path) -> None:
    write_idx(tmp_path / "EMNIST" / "raw", [1, 3, 26, 2], EMNIST)
    data = load_data_set(tmp_path)
    assert data.class_names == tuple(string.ascii_uppercase)
    assert data.train.labels.tolist() == [0, 2, 25, 1]
    assert [data.train.name(label) for label in data.train.labels.tolist()] == ["A", "C", "Z", "B"]


@pytest.mark.parametrize(("kind", "label", "name"), [("byclass", 61, "z"), ("balanced", 46, "t"), ("bymerge", 36, "a")])
def test_other_parts_of_emnist_are_called_by_their_characters(kind: str, label: int, name: str) -> None:
    names, labels = name_labels(np.array([0, label]), f"emnist-{kind}-")
    assert (names[0], names[int(labels[1])]) == ("0", name)


def test_one_of_several_data_sets_is_chosen_by_the_beginning_of_its_names(tmp_path: Path) -> None:
    raw = write_idx(tmp_path / "EMNIST" / "raw", [1, 2, 3], EMNIST)
    write_idx(raw, [4, 5, 6], [name.replace("letters", "digits") for name in EMNIST])
    with pytest.raises(VizdiffInputError, match=r"holds 2 data sets.*emnist-digits.*emnist-letters"):
        load_data_set(tmp_path)
    assert load_data_set(raw / "emnist-digits").train.labels.tolist() == [4, 5, 6]
    assert load_data_set(raw / "emnist-letters").train.labels.tolist() == [0, 1, 2]


def test_torchvisions_root_with_two_data_sets_is_ambiguous(tmp_path: Path) -> None:
    for name in ("MNIST", "FashionMNIST"):
        write_idx(tmp_path / name / "raw", range(10))
    with pytest.raises(VizdiffInputError, match=r"holds 2 data sets.*FashionMNIST.raw.*MNIST.raw"):
        load_data_set(tmp_path)
    assert find_idx(tmp_path / "MNIST") is not None


@pytest.mark.parametrize("names", [NAMES[:2], NAMES[2:]], ids=["train", "t10k"])
def test_one_part_is_split_by_a_hash_of_each_image(names: list[str], tmp_path: Path) -> None:
    labels = [7, 3] * 100
    data = load_data_set(write_idx(tmp_path, labels, names))
    assert len(data.train) + len(data.test) == 200
    assert 20 <= len(data.test) <= 60  # 40 on average, with a standard deviation of 6
    assert data.train.present == data.test.present == (3, 7)
    assert any("chosen by a hash" in note for note in data.notes)
    # an image's part does not depend on the others
    half = load_data_set(write_idx(tmp_path / "half", labels[:100], names, images=pictures(labels)[:100]))
    whole = {image.numpy().tobytes() for image in data.test.images}
    assert {image.numpy().tobytes() for image in half.test.images} <= whole


def test_one_image_is_trained_on_and_held_out(tmp_path: Path) -> None:
    data = load_data_set(write_idx(tmp_path, [4], NAMES[:2]))
    assert data.train.labels.tolist() == data.test.labels.tolist() == [4]
    assert any("trained on and tested on" in note for note in data.notes)


@pytest.mark.parametrize(
    ("labels", "names"),
    [([1, 9], ()), ([0, 3], ()), ([1, 17, 255], ("1", "17", "255")), ([0, 10], ("0", "10")), (range(1, 27), None)],
)
def test_labels_keep_their_numbers_as_names(labels: list[int], names: tuple[str, ...] | None, tmp_path: Path) -> None:
    data = load_data_set(write_idx(tmp_path, labels))
    if names is None:
        names = tuple(map(str, labels))
    assert data.class_names == names
    assert [data.train.name(label) for label in data.train.labels.tolist()] == [str(label) for label in labels]


def test_other_sizes_are_read_where_an_image_size_is_given(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1], side=20)
    with pytest.raises(VizdiffInputError, match=r"28x28, 32x32, 64x64, found 20x20; image_size resizes"):
        load_data_set(tmp_path)
    data = load_data_set(tmp_path, image_size=28)
    assert data.train.images.shape == (2, 1, 28, 28)
    inside = to_bytes(data.train.images)[:, 4:24, 4:24]
    np.testing.assert_array_equal(inside, pictures([0, 1], 20))
    assert any("20 x 20 pixels became 28 x 28" in note for note in data.notes)
    assert load_data_set(write_idx(tmp_path / "32", [0, 1], side=32)).image_size == 32


def test_a_missing_file_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1], DOTTED)
    (tmp_path / DOTTED[1]).unlink()
    with pytest.raises(VizdiffInputError, match=rf"no train-labels-idx1-ubyte.*there are .*{DOTTED[0]}"):
        load_digits("train", data_dir=tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "read.me").write_text("x")
    with pytest.raises(VizdiffInputError, match=r"neither IDX files.*nor folders of images.*read\.me"):
        load_data_set(tmp_path / "other")
    with pytest.raises(VizdiffInputError, match="is a file"):
        load_data_set(tmp_path / "other" / "read.me")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VizdiffInputError, match="it is empty"):
        load_data_set(tmp_path / "empty")


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    assert load_data_set(write_idx(tmp_path, [1, 2])).train.labels.tolist() == [1, 2]
    assert load_data_set(write_idx(tmp_path, [1, 2, 3])).train.labels.tolist() == [1, 2, 3]
    assert torch.equal(load_digits("test", data_dir=tmp_path).labels, torch.tensor([1, 2, 3]))
