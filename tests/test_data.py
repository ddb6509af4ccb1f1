"""MNIST as bundled, and every way an IDX file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import re
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from viz_diffusion.data import Digits, load_digits, to_bytes, to_unit_range
from viz_diffusion.data import loading as data
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


# -- the bundled copy ------------------------------------------------------------------------------


def test_bundled_test_digits(test_digits: Digits) -> None:
    assert len(test_digits) == 10_000
    assert test_digits.images.shape == (10_000, 1, 28, 28)
    assert test_digits.images.dtype == torch.float32
    assert test_digits.labels.dtype == torch.int64
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(test_digits.labels).tolist() == counts
    assert test_digits.images.aminmax() == (-1, 1)
    assert test_digits.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_bundled_training_digits() -> None:
    digits = load_digits("train")
    assert digits.images.shape == (60_000, 1, 28, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(digits.labels).tolist() == counts
    assert digits.images.aminmax() == (-1, 1)
    assert digits.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # the mean and standard deviation everyone normalises MNIST with, in units of 0 .. 1
    unit = (digits.images + 1) / 2
    assert round(unit.mean().item(), 4) == 0.1307
    assert round(unit.std().item(), 4) == 0.3081


def test_a_changed_bundled_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.setattr(data, "_BUNDLED_DIR", tmp_path)
    with pytest.raises(VizdiffInputError, match=rf"{IMAGES}.*SHA-256.*install"):
        load_digits("test")


def test_typical_of(test_digits: Digits) -> None:
    images = test_digits.images.double().numpy()
    for digit in range(10):
        ours = images[test_digits.labels.numpy() == digit].reshape(-1, 784)
        distances = np.linalg.norm(ours - ours.mean(axis=0), axis=1)
        found = test_digits.typical_of(digit)
        assert found.shape == (1, 28, 28)
        np.testing.assert_array_equal(found.flatten().double().numpy(), ours[distances.argmin()])
    with pytest.raises(VizdiffInputError, match="label 3"):
        Digits(test_digits.images[:2], torch.tensor([1, 2])).typical_of(3)


# -- pixels ----------------------------------------------------------------------------------------


def test_bytes_and_unit_range_are_inverse_on_all_values() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    unit = to_unit_range(values)
    assert unit.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(unit.flatten().double().numpy(), np.arange(256) / 127.5 - 1, atol=2e-7)
    assert (unit.min(), unit.max()) == (-1, 1)
    np.testing.assert_array_equal(to_bytes(unit), values)


def test_values_beyond_the_range_are_clipped_not_wrapped() -> None:
    odd = torch.tensor([-5.0, -1.01, 1.01, 300.0]).reshape(1, 1, 2, 2)
    assert to_bytes(odd).flatten().tolist() == [0, 0, 255, 255]


# -- folders of IDX files --------------------------------------------------------------------------


def idx(magic: int, shape: tuple[int, ...], payload: bytes) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + payload


PIXELS = bytes(range(256)) * 9 + bytes(48)  # 3 images of 784
GOOD = {IMAGES: idx(0x0803, (3, 28, 28), PIXELS), LABELS: idx(0x0801, (3,), bytes([7, 0, 9]))}


def write(folder: Path, changes: dict[str, bytes] | None = None, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in (GOOD | (changes or {})).items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("subfolder", ["", "raw"])
def test_own_files_are_read(packed: bool, subfolder: str, tmp_path: Path) -> None:
    write(tmp_path / subfolder, packed=packed)
    digits = load_digits("test", data_dir=tmp_path)
    assert digits.labels.tolist() == [7, 0, 9]
    assert to_bytes(digits.images).tobytes() == PIXELS


def images(count: int, height: int = 28, width: int = 28, payload: bytes = PIXELS, magic: int = 0x0803) -> bytes:
    return idx(magic, (count, height, width), payload)


MALFORMED = {
    "magic": (IMAGES, images(3, magic=0x12345678), "0x0803", "0x12345678"),
    "little-endian": (IMAGES, images(3, magic=0x03080000), "0x0803", "0x3080000"),
    "type byte": (IMAGES, images(3, magic=0x0D03), "0x0803", "0x0d03"),
    "dimensions": (IMAGES, idx(0x0802, (3, 784), PIXELS), "0x0803", "0x0802"),
    "labels for images": (IMAGES, idx(0x0801, (99,), bytes(99)), "0x0803", "0x0801"),
    "images for labels": (LABELS, GOOD[IMAGES], "0x0801", "0x0803"),
    "27x28": (IMAGES, images(3, 27, 28, PIXELS[: 3 * 27 * 28]), "28x28", "27x28"),
    "28x0": (IMAGES, images(3, 28, 0, b""), "28x28", "28x0"),
    "short images": (IMAGES, images(3, payload=PIXELS[:-1]), "2352", "2351"),
    "long images": (IMAGES, images(3, payload=PIXELS + b"x"), "2352", ""),
    "short labels": (LABELS, idx(0x0801, (3,), b"\1\2"), "3 bytes", "found 2"),
    "long labels": (LABELS, idx(0x0801, (3,), b"\1\2\3\4"), "(3)", ""),
    "count mismatch": (LABELS, idx(0x0801, (2,), b"\1\2"), "3 images", "2 labels"),
    "empty file": (IMAGES, b"", "16 bytes", "found 0"),
    "half a header": (IMAGES, GOOD[IMAGES][:7], "16 bytes", "found 7"),
    "no entries": (IMAGES, images(0, payload=b""), "at least one", "none"),
    "2^31 images": (IMAGES, images(2**31), "10,000,000", "2,147,483,648"),
    "2^32-1 pixels": (IMAGES, images(3, 2**32 - 1, 2**32 - 1), "28x28", "4294967295x4294967295"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused(case: str, packed: bool, tmp_path: Path) -> None:
    name, content, expected, found = MALFORMED[case]
    write(tmp_path, {name: content}, packed)
    with pytest.raises(VizdiffInputError) as caught:
        load_digits("test", data_dir=tmp_path)
    message = str(caught.value)
    assert name in message
    assert expected in message
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize("cut", [0, 1, 5, 12, 100, -9, -1])
def test_truncated_gzip_is_refused(cut: int, tmp_path: Path) -> None:
    write(tmp_path, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(VizdiffInputError, match=re.escape(path.name)):
        load_digits("test", data_dir=tmp_path)


@pytest.mark.parametrize("place", [0, 3, 20, -6, -2])
def test_damaged_gzip_is_refused(place: int, tmp_path: Path) -> None:
    write(tmp_path, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(VizdiffInputError, match=re.escape(path.name)):
        load_digits("test", data_dir=tmp_path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(VizdiffInputError, match=r"nowhere.*no such folder"):
        load_digits("test", data_dir=tmp_path / "nowhere")
    write(tmp_path)
    (tmp_path / LABELS).unlink()
    with pytest.raises(VizdiffInputError, match=rf"no {LABELS} or {LABELS}.gz in it; there are {IMAGES}"):
        load_digits("train", data_dir=tmp_path)


# -- downloads (none takes place) ------------------------------------------------------------------


def test_unknown_dataset_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match=r"cifar.*mnist, fashion-mnist, kmnist"):
        load_digits("test", dataset="cifar")


@pytest.mark.parametrize(("dataset", "kind"), [("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")])
@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        RuntimeError("Error downloading x\nand more"),
        OSError(28, "No space left on device"),
        TimeoutError(),
        http.client.IncompleteRead(b"", 100),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_download_is_one_line(
    dataset: str, kind: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(getattr(torchvision.datasets, kind), "__init__", refuse)
    with pytest.raises(VizdiffIOError, match=rf"cannot download {dataset}.*data_dir") as caught:
        load_digits("test", dataset=dataset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chained", [True, False])
def test_the_reason_of_a_failed_download_is_said(
    chained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torchvision names the file; why it could not be had, its cause says, or a line that it prints."""

    def refuse(*_: object, **__: object) -> None:
        print("Failed to download (trying next):\n<urlopen error [Errno 111] Connection refused>\n")
        cause = urllib.error.URLError(OSError(111, "Connection refused"))
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz") from (cause if chained else None)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "__init__", refuse)
    with pytest.raises(VizdiffIOError, match=r"cannot download.*Connection refused.*data_dir"):
        load_digits("train", dataset="fashion-mnist")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("dataset", "kind"), [("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")])
def test_a_download_is_read_from_the_cache(
    dataset: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def pretend(_: object, root: str, train: bool, download: bool) -> None:
        calls.append((train, download))
        write(Path(root) / kind / "raw")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(getattr(torchvision.datasets, kind), "__init__", pretend)
    assert load_digits("test", dataset=dataset).labels.tolist() == [7, 0, 9]
    assert (tmp_path / "viz_diffusion" / kind / "raw" / IMAGES).is_file()
    assert all(download for _, download in calls)


def test_the_sha256_depends_on_images_and_labels() -> None:
    images, labels = torch.zeros(2, 1, 28, 28), torch.tensor([3, 4])
    known = Digits(images, labels).sha256
    assert known == hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    assert Digits(images.clone(), labels.clone()).sha256 == known
    assert Digits(images, labels + 1).sha256 != known
    assert Digits(images + 1, labels).sha256 != known
