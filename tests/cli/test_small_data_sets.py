"""Data sets of few classes, few images, or without some of the digits, through the commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx
from own_data import FEW, refused, run_json, text_of, train
from PIL import Image
from shape_folder import KINDS, write_shapes

from viz_diffusion.cli import main
from viz_diffusion.training.run import Run


@pytest.mark.parametrize(("labels", "digit"), [([3, 5] * 50, 3), ([1, 2, 3, 4, 5, 6, 7, 8, 9] * 20, 8), ([4] * 9, 4)])
def test_forward_draws_the_next_labels_that_there_are(
    labels: list[int], digit: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_idx(tmp_path / "idx", labels)
    arguments = ["forward", "--data-dir", str(data), "--out", str(tmp_path / "f"), "--quiet"]
    facts = run_json(capsys, *arguments, "--digit", str(digit))
    present = sorted(set(labels))
    turned = present[present.index(digit) :] + present[: present.index(digit)]
    assert facts["digits"] == turned[:5]
    assert (tmp_path / "f" / "forward.png").is_file()
    assert f"the data hold {', '.join(map(str, present))}" in refused(capsys, [*arguments, "--digit", "0"], 2)


def test_a_run_on_digits_without_some_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(write_idx(tmp_path / "idx", [3, 5, 8] * 20), tmp_path / "run")
    config = Run.open(run).config
    assert (config.labels, config.class_names, config.model.num_labels) == ((3, 5, 8), None, 10)
    assert Run.open(run).load_samples()[1].shape[1:] == (3, 28, 28)
    arguments = ["report", "--run", str(run), *FEW, "--lessons", "noising", "--out", str(tmp_path / "r.html")]
    assert run_json(capsys, *arguments)["digit"] == 5
    assert "trained on 3, 5, 8" in refused(capsys, [*arguments, "--digit", "4"], 2)
    sheet = ["worksheet", "--run", str(run), *FEW, "--out", str(tmp_path / "w"), "--digit", "3"]
    assert sorted(run_json(capsys, *sheet)["answers"]["digits"].values()) == [5, 8]


@pytest.mark.usefixtures("short_tsne")
@pytest.mark.parametrize("classes", [1, 2])
def test_one_class_and_two_go_through(classes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "shapes", each=4, names=KINDS[:classes])
    run = ["--run", str(train(tmp_path / "shapes", tmp_path / "run"))]
    facts = run_json(capsys, "report", *run, *FEW, "--lessons", "noising,label", "--out", str(tmp_path / "r.html"))
    assert facts["left_out"] == {"label": "labels"}
    assert "at least three classes" in text_of(tmp_path / "r.html")
    sheet = run_json(capsys, "worksheet", *run, *FEW, "--out", str(tmp_path / "w"))
    assert sheet["answers"]["digits"] == {}
    assert main(["embeddings", *run, "--out", str(tmp_path / "e"), "--quiet"]) == 0
    assert main(["lesson", "label", *run, "--out", str(tmp_path / "l"), "--quiet"]) == 3


def test_one_image_goes_through(tmp_path: Path) -> None:
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(tmp_path / "one" / "cat" / "1.png")
    run = train(tmp_path / "one", tmp_path / "run")
    assert (
        main(["report", "--run", str(run), *FEW, "--lessons", "noising,guess", "--out", str(tmp_path / "r.html")]) == 0
    )


def test_a_class_without_held_out_images_is_drawn_from_the_training_images(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes" / "train", each=3)
    write_shapes(tmp_path / "shapes" / "test", each=2)
    shutil.rmtree(tmp_path / "shapes" / "test" / "circle")
    run = ["--run", str(train(tmp_path / "shapes", tmp_path / "run")), "--label", "circle", *FEW]
    assert main(["report", *run, "--lessons", "noising,guess", "--out", str(tmp_path / "r.html")]) == 0
    assert main(["worksheet", *run, "--out", str(tmp_path / "w")]) == 0


def test_image_size_is_kept_by_the_run(tmp_path: Path) -> None:
    run = train(write_shapes(tmp_path / "shapes", each=4), tmp_path / "run", "--image-size", "28")
    assert Run.open(run).config.image_shape == (3, 28, 28)
    assert Run.open(run).config.load_digits("test").images.shape[1:] == (3, 28, 28)


def test_a_case_of_a_data_set_that_lacks_a_class(tmp_path: Path) -> None:
    codes = {}
    for name, labels, digits in (("nine", list(range(1, 10)) * 20, (1, 8)), ("two", [3, 5] * 50, (3,))):
        data = write_idx(tmp_path / name, labels)
        for digit in digits:
            out = ["--out", str(tmp_path / f"f{digit}"), "--quiet"]
            codes[name, digit] = main(["forward", "--data-dir", str(data), "--digit", str(digit), *out])
    assert set(codes.values()) == {0}
