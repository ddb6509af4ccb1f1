"""Folders of images by class: layouts, splits, file formats, and everything that lies in people's folders besides."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shape_folder import KINDS, draw_shape, write_shapes

from viz_diffusion.data import load_data_set, to_bytes
from viz_diffusion.data.fitting import border_colour, fit, read_image
from viz_diffusion.data.image_folder import list_images, read_images
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError


def save(path: Path, image: np.ndarray | Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def grey(value: int, side: int = 28) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def test_the_folder_of_shapes_is_understood(tmp_path: Path) -> None:
    data = load_data_set(write_shapes(tmp_path / "shapes"))
    assert data.class_names == KINDS
    assert (data.channels, data.image_size, data.kind) == (3, 32, "image folder")
    assert len(data.train) + len(data.test) == 200
    assert torch.bincount(torch.cat([data.train.labels, data.test.labels])).tolist() == [50] * 4
    first = np.asarray(Image.open(tmp_path / "shapes" / "square" / "000.png"))
    assert any(np.array_equal(image, first) for part in (data.train, data.test) for image in to_bytes(part.images))
    assert data.sha256 == load_data_set(tmp_path / "shapes").sha256


def test_names_of_files_and_places_do_not_change_the_split(tmp_path: Path) -> None:
    one = load_data_set(write_shapes(tmp_path / "one", each=20))
    write_shapes(tmp_path / "two", each=20)
    for path in (tmp_path / "two").rglob("*.png"):
        path.rename(path.with_name(f"moved-{path.name}"))
    assert load_data_set(tmp_path / "two").sha256 == one.sha256


@pytest.mark.parametrize("test", ["test", "val", "validation", "Test"])
def test_train_and_test_folders_are_the_splits(test: str, tmp_path: Path) -> None:
    write_shapes(tmp_path / "train", each=3)
    write_shapes(tmp_path / test, each=2)
    data = load_data_set(tmp_path)
    assert (len(data.train), len(data.test)) == (12, 8)
    assert not any("hash" in note for note in data.notes)


def test_a_class_may_be_in_one_split_only(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a" / "1.png", grey(10))
    save(tmp_path / "train" / "b" / "1.png", grey(20))
    save(tmp_path / "test" / "b" / "1.png", grey(30))
    save(tmp_path / "test" / "c" / "1.png", grey(40))
    data = load_data_set(tmp_path)
    assert data.class_names == ("a", "b", "c")
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1], [1, 2])


def test_train_may_be_a_class_among_others(tmp_path: Path) -> None:
    for index, name in enumerate(("car", "train", "test")):
        save(tmp_path / name / "1.png", grey(10 * index))
    assert load_data_set(tmp_path).class_names == ("car", "test", "train")


def test_images_without_a_class_folder_are_one_class(tmp_path: Path) -> None:
    for index in range(8):
        save(tmp_path / "photos" / f"{index}.png", grey(index))
    data = load_data_set(tmp_path / "photos")
    assert data.class_names == ("photos",)
    assert len(data.train) + len(data.test) == 8
    assert len(data.test) >= 1


def test_one_image_is_enough(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.png", grey(7))
    data = load_data_set(tmp_path)
    assert len(data.train) == len(data.test) == 1
    assert any("trained on and tested on" in note for note in data.notes)


def test_what_lies_about_is_passed_over_and_said(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.png", grey(7))
    save(tmp_path / "cat" / "deeper" / "2.PNG", grey(8))
    save(tmp_path / "cat" / "._1.png", grey(9))
    save(tmp_path / ".hidden" / "1.png", grey(9))
    save(tmp_path / "__MACOSX" / "cat" / "1.png", grey(9))
    save(tmp_path / "loose.png", grey(9))
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / "cat" / "list.csv").write_text("a")
    (tmp_path / "empty").mkdir()
    data = load_data_set(tmp_path)
    assert data.class_names == ("cat",)
    assert len(data.train) + len(data.test) == 2
    notes = " | ".join(data.notes)
    for said in ("empty", "loose.png", "list.csv"):
        assert said in notes
    for silent in ("DS_Store", "Thumbs", "MACOSX", "hidden"):
        assert silent not in notes


def test_links_are_followed_and_cycles_end(tmp_path: Path) -> None:
    source = save(tmp_path / "elsewhere" / "1.png", grey(7))
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "cat" / "link.png").symlink_to(source)
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "cat" / "again").symlink_to(tmp_path / "data" / "cat")
    data = load_data_set(tmp_path / "data")
    assert data.class_names == ("cat", "dog")
    assert len(data.train) == 2
    (tmp_path / "data" / "cat" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(VizdiffInputError, match=r"broken\.png"):
        load_data_set(tmp_path / "data")


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif"])
def test_formats_are_read(ending: str, tmp_path: Path) -> None:
    image = draw_shape("circle", np.random.default_rng(0))
    options = {"lossless": True} if ending == "webp" else {}
    found = read_image(save(tmp_path / f"1.{ending}", image, **options))
    assert found.shape == (32, 32, 3)
    close = np.abs(found.astype(int) - np.asarray(image)).mean()
    assert close < (10 if ending in ("jpg", "jpeg", "gif") else 1e-9)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, None])
def test_unreadable_files_are_named_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = save(tmp_path / "cat" / "1.png", draw_shape("cross", np.random.default_rng(0)))
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(VizdiffInputError, match=r"cat/1\.png") as caught:
        load_data_set(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGB", "LA"])
def test_grey_is_decided_from_the_data(mode: str, tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", Image.fromarray(grey(90)).convert("RGB"))
    save(tmp_path / "a" / "2.png", Image.fromarray(grey(91)).convert(mode))
    save(tmp_path / "a" / "3.jpg", Image.fromarray(np.tile(np.arange(28, dtype=np.uint8) * 9, (28, 1))).convert("RGB"))
    data = load_data_set(tmp_path)
    assert data.channels == 1
    assert any("no image has colour" in note for note in data.notes)
    save(tmp_path / "a" / "4.png", np.full((28, 28, 3), (10, 90, 20), np.uint8))
    data = load_data_set(tmp_path)
    assert data.channels == 3
    assert any("1 of 4 images have colour" in note for note in data.notes)
    assert load_data_set(tmp_path, channels=1).channels == 1


def test_sixteen_bits_alpha_palette_and_exif(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535], [32896, 514, 771]], np.uint16)
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.png", deep)), [[0, 1, 255], [128, 2, 3]])
    clear = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "clear.png", clear)), [[[10, 20, 30], [255, 255, 255]]])
    one_bit = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(read_image(save(tmp_path / "one.png", one_bit)), [[0, 255]])
    palette = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).convert("P")
    np.testing.assert_array_equal(read_image(save(tmp_path / "p.png", palette)), [[[255, 0, 0], [0, 0, 255]]])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    turned = read_image(save(tmp_path / "exif.png", np.array([[10, 20, 30]], np.uint8), exif=exif))
    np.testing.assert_array_equal(turned, [[10], [20], [30]])


def test_mixed_sizes_become_one_and_it_is_said(tmp_path: Path) -> None:
    save(tmp_path / "a" / "wide.png", np.full((30, 100), 200, np.uint8))
    save(tmp_path / "a" / "small.png", grey(50, 10))
    data = load_data_set(tmp_path, image_size=32)
    assert data.train.images.shape[1:] == (1, 32, 32)
    note = next(note for note in data.notes if "became" in note)
    assert "10 x 10 to 100 x 30 pixels became 32 x 32" in note
    assert "shrunk" in note
    assert "border" in note
    assert load_data_set(tmp_path).image_size == 64


@pytest.mark.parametrize("coloured", [False, True])
def test_photographs_are_fitted_one_by_one(coloured: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    """As if all had been kept until the last was read, in the memory of one."""
    for index in range(5):
        values = rng.integers(0, 256, (75, 100, 3), np.uint8)
        values = values if coloured and index == 4 else values[..., :1].repeat(3, axis=2)
        save(tmp_path / "d" / "a" / f"{index}.png", Image.fromarray(values).resize((1000, 750)))
    save(tmp_path / "d" / "b" / "small.png", grey(9, 20))
    listed = list_images(tmp_path / "d")
    assert listed is not None
    tracemalloc.start()
    read = read_images(listed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 1000 * 750 * 3
    assert read.pixels.shape == ((6, 64, 64, 3) if coloured else (6, 64, 64))
    for path, pixels in zip(listed.files, read.pixels, strict=True):
        np.testing.assert_array_equal(pixels, fit(read_image(path), 64, 3 if coloured else 1))


def test_fitting_keeps_proportions_and_fills_with_the_border(tmp_path: Path) -> None:
    image = np.full((40, 80), 10, np.uint8)
    image[10:30, 20:60] = 250
    fitted = fit(image, 32, 1)
    assert fitted.shape == (32, 32)
    assert (fitted[:8] == 10).all()
    assert (fitted[24:] == 10).all()
    assert (fitted[13:19, 10:22] == 250).all()
    white = np.full((20, 24, 3), (250, 240, 230), np.uint8)
    np.testing.assert_array_equal(fit(white, 28, 3), np.broadcast_to(border_colour(white), (28, 28, 3)))
    np.testing.assert_array_equal(fit(grey(9, 28), 28, 1), grey(9, 28))
    assert fit(np.zeros((1, 3000), np.uint8), 28, 1).shape == (28, 28)
    with pytest.raises(VizdiffUsageError, match="28, 32, 64, found 30"):
        load_data_set(tmp_path, image_size=30)


@pytest.mark.parametrize(("broken", "named", "dots"), [(1, 1, False), (3, 3, False), (5, 5, False), (7, 5, True)])
def test_several_files_that_cannot_be_read_are_named_at_once(
    broken: int, named: int, dots: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "cat"
    folder.mkdir(parents=True)
    for index in range(9):
        place = folder / f"{index}.png"
        if index < broken:
            place.write_bytes(b"no image")
        else:
            Image.new("L", (28, 28), index).save(place)
    with pytest.raises(VizdiffInputError) as caught:
        load_data_set(tmp_path / "data")
    said = str(caught.value)
    assert sum(f"{index}.png" in said for index in range(9)) == named
    assert said.startswith(f"{folder / '0.png'}: cannot be read as an image")
    assert said.endswith("…") == dots
