"""Data of one's own through every command: 4 classes in colour, names of every kind, missing classes, moved folders."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx
from own_data import FEW, refused, run_json, text_of, train
from PIL import Image
from pptx import Presentation
from shape_folder import KINDS, write_shapes

from viz_diffusion.cli import main
from viz_diffusion.data import load_data_set
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.moved_data import with_data_dir
from viz_diffusion.training.run import Run

pytestmark = pytest.mark.usefixtures("short_tsne")
ODD = ("$x^2$", '<b>"q"&amp; a very long name of a class that goes on and on', "a_b.c", "고양이 와 개")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with a folder of shapes, a run trained on it, and a recording of the class square."""
    place = tmp_path_factory.mktemp("own")
    train(write_shapes(place / "shapes", each=12), place / "run")
    main(["trajectory", "--run", str(place / "run"), "--label", "square", "--out", str(place / "recorded"), *FEW])
    return place


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same with names that are markup, formulas, Chinese or long."""
    place = tmp_path_factory.mktemp("odd")
    train(write_shapes(place / "shapes", each=12, names=ODD), place / "run")
    main(["trajectory", "--run", str(place / "run"), "--label", ODD[1], "--out", str(place / "recorded"), *FEW])
    return place


@pytest.fixture
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test find the study that another one kept, whatever its language."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


@pytest.fixture
def odd_kept(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test find the study of odd names that another one kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(odd / "cache"))


# -- training and recording ------------------------------------------------------------------------


def test_the_run_knows_its_data(folder: Path) -> None:
    run = Run.open(folder / "run")
    assert run.config.class_names == KINDS
    assert run.config.image_shape == (3, 32, 32)
    assert run.config.labels is None
    assert run.config.data_sha256 == load_data_set(folder / "shapes").sha256
    assert run.config == RunConfig.read(folder / "run" / "config.json")
    steps, images = run.load_samples()
    assert (steps.tolist(), tuple(images.shape[1:])) == ([3], (4, 32, 32, 3))


def test_the_recording_is_of_the_class_and_in_colour(folder: Path) -> None:
    recorded = Trajectory.open(folder / "recorded" / "trajectory.zarr")
    assert recorded.x_t.shape == (1, 20, 3, 32, 32)
    assert recorded.labels.tolist() == [KINDS.index("square")]
    assert not np.array_equal(recorded.x0[0, 0], recorded.x0[0, 1])
    caption = json.loads((folder / "recorded" / "trajectory.json").read_text())["caption"]
    assert "class square" in caption
    assert "digit" not in caption
    with Image.open(folder / "recorded" / "steps.gif") as film:
        assert film.convert("RGB").getcolors(100_000) is not None
        assert np.ptp(np.asarray(film.convert("RGB")), axis=2).max() > 8


def test_sample_takes_all_classes_in_turn_or_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sample", "--run", str(folder / "run"), "--count", "6", "--sampler", "ddim", *FEW]
    assert main([*arguments, "--out", str(tmp_path / "s.npz")]) == 0
    with np.load(tmp_path / "s.npz") as stored:
        assert stored["images"].shape == (6, 32, 32, 3)
        assert stored["labels"].tolist() == [0, 1, 2, 3, 0, 1]
        assert stored["class_names"].tolist() == list(KINDS)
    assert main([*arguments, "--label", "cross", "--out", str(tmp_path / "s.png")]) == 0
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.mode == "RGB"
    for wrong, said in ((["--label", "cros"], r"did you mean 'cross'"), (["--digit", "3"], r"circle, cross.*--label")):
        assert re.search(said, refused(capsys, [*arguments, *wrong, "--out", str(tmp_path / "x.png")], 2))


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_report_names_classes_and_no_digit(
    folder: Path, lang: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    arguments = ["--run", str(folder / "run"), "--trajectory", str(folder / "recorded"), "--lang", lang, "--quiet"]
    facts = run_json(capsys, "report", *arguments, "--out", str(out))
    assert (facts["label"], facts["class_names"]) == ("square", list(KINDS))
    shown = text_of(out)
    assert {"noising", "training", "guess", "step", "label", "clock", "network"} <= set(facts["lessons"])
    for name in KINDS:
        assert name in shown
    left_out = {
        "en": r"grey digits of 28 × 28 pixels, or need a classifier of digits",
        "zh": r"28 × 28 像素的灰度数字",
    }[lang]
    assert re.search(left_out, shown)
    rest = re.sub(left_out, "", shown)
    if lang == "en":
        assert not re.search(r"\bdigits?\b", rest, re.IGNORECASE)
        assert "--label square" in shown
        assert "--digit" not in shown
    assert "{" not in shown


SHORT = ["--lessons", "noising,step"]


@pytest.mark.usefixtures("kept")
def test_slides_and_handout_name_the_class(folder: Path, tmp_path: Path) -> None:
    of = ["--run", str(folder / "run"), "--trajectory", str(folder / "recorded"), *SHORT, "--quiet"]
    for name in ("deck.pptx", "deck.pdf"):
        assert main(["deck", *of, "--format", name[-4:].strip("."), "--out", str(tmp_path / name)]) == 0
    slides = Presentation(str(tmp_path / "deck.pptx")).slides
    words = " ".join(shape.text_frame.text for slide in slides for shape in slide.shapes if shape.has_text_frame)
    words += " ".join(slide.notes_slide.notes_text_frame.text for slide in slides)
    assert "square" in words
    assert not re.search(r"\bdigit\b", words)


@pytest.mark.usefixtures("kept")
def test_worksheet_asks_for_classes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = ["--run", str(folder / "run"), "--trajectory", str(folder / "recorded"), "--quiet"]
    sheet = run_json(capsys, "worksheet", *of, "--out", str(tmp_path / "sheet"))
    assert len(sheet["answers"]["digits"]) == 3
    student, teacher = (text_of(tmp_path / "sheet" / f"{name}.html") for name in ("worksheet", "key"))
    assert "circle, cross, square, triangle" in student
    assert "class square" in teacher


def test_embeddings_learning_and_lesson(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--run", str(folder / "run"), "--quiet"]
    assert main(["embeddings", *run, "--out", str(tmp_path / "e")]) == 0
    captions = json.loads((tmp_path / "e" / "embeddings.json").read_text())["captions"]
    assert "4 label vectors" in captions["label_embedding"]
    assert main(["export", "--figure", "learning", *run, "--out", str(tmp_path / "l.png")]) == 0
    assert main(["lesson", "noising", "--label", "cross", *run, "--out", str(tmp_path / "lessons")]) == 0
    refusal = refused(capsys, ["lesson", "coarse_fine", *run, "--out", str(tmp_path / "lessons")], 3)
    assert "grey digits of 28 × 28" in refusal


def test_switching_to_a_class_by_its_name(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["intervene", "--run", str(folder / "run"), "--label", "square", *FEW, "--out", str(tmp_path)]
    assert main([*arguments, "--switch", "cross@500"]) == 0
    changed = Trajectory.open(tmp_path / "changed.zarr")
    assert changed.interventions == f"switch {KINDS.index('cross')}@500"
    arguments[-1] = str(tmp_path / "owl")
    assert "circle, cross, square, triangle" in refused(capsys, [*arguments, "--switch", "owl@500"], 2)


@pytest.mark.usefixtures("odd_kept")
def test_names_are_text_and_never_markup_on_a_page(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = ["--run", str(odd / "run"), "--trajectory", str(odd / "recorded"), *SHORT, "--quiet"]
    facts = run_json(capsys, "report", *of, "--out", str(tmp_path / "r.html"))
    assert facts["label"] == ODD[1]
    assert '<b>"q"' not in (tmp_path / "r.html").read_text(encoding="utf-8")
    shown = text_of(tmp_path / "r.html")
    for name in ("$x^2$", '<b>"q"&amp; a very long', "a_b.c", "고양이 와 개"):
        assert name in shown
    assert ODD[1] not in shown.replace(f"--label '{ODD[1]}'", "")  # shortened, but for the command


@pytest.mark.usefixtures("odd_kept")
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_names_are_text_and_never_markup_elsewhere(odd: Path, lang: str, tmp_path: Path) -> None:
    of = ["--run", str(odd / "run"), "--trajectory", str(odd / "recorded"), "--lang", lang, "--quiet"]
    assert main(["deck", *of, *SHORT, "--out", str(tmp_path / "d.pptx")]) == 0
    assert main(["worksheet", *of, "--out", str(tmp_path)]) == 0
    assert '<b>"q"' not in (tmp_path / "key.html").read_text(encoding="utf-8")
    run = ["--run", str(odd / "run"), "--lang", lang, "--quiet"]
    assert main(["embeddings", *run, "--out", str(tmp_path / "e")]) == 0
    caption = json.loads((tmp_path / "e" / "embeddings.json").read_text())["captions"]["label_embedding"]
    assert {"en": "#3 is 고양이 와 개", "zh": "#3 表示고양이 와 개"}[lang] in caption


def test_files_are_named_for_the_class(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["export", "--figure", "steps", "--run", str(odd / "run"), "--sampler", "ddim", *FEW]
    for label, name in ((ODD[0], "steps_x_2"), (ODD[3], "steps_고양이_와_개")):
        out = run_json(capsys, *arguments, "--label", label)["out"]
        assert Path(out) == Path("reports") / f"{name}_ddim_20steps_run.png"


# -- data that have moved --------------------------------------------------------------------------


def test_a_folder_that_moved_is_known_by_its_hash(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(folder / "run", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    assert config["data_dir"] == str(folder / "shapes")
    shutil.copytree(folder / "shapes", tmp_path / "new")
    write_shapes(tmp_path / "other", each=5)
    resume = ["train", "--resume", str(run), "--steps", "5", "--quiet"]
    line = refused(capsys, [*resume, "--data-dir", str(tmp_path / "other")], 3)
    assert "other data than the run was trained on" in line
    assert str(tmp_path / "other") in line
    assert main([*resume, "--data-dir", str(tmp_path / "new")]) == 0
    assert Run.open(run).config.data_dir == str(tmp_path / "new")
    assert Run.open(run).config.training.steps == 5
    report = ["report", "--run", str(folder / "run"), "--lessons", "noising", *FEW, "--out", str(tmp_path / "r.html")]
    assert main([*report, "--data-dir", str(tmp_path / "new")]) == 0
    assert "other data" in refused(capsys, [*report, "--data-dir", str(tmp_path / "other")], 3)
    lesson = ["lesson", "noising", "--run", str(folder / "run"), "--out", str(tmp_path / "l"), "--quiet"]
    assert main([*lesson, "--data-dir", str(tmp_path / "new")]) == 0
    bundled = ["lesson", "noising", "--run", "bundled", "--data-dir", str(tmp_path / "new"), "--out", str(tmp_path)]
    assert "leave --data-dir out" in refused(capsys, bundled, 3)


def test_a_run_from_before_the_hash_knows_its_data_by_its_checkpoint(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(folder / "run", tmp_path / "run")
    (run / "manifest.json").unlink()
    config = json.loads((run / "config.json").read_text())
    del config["data_sha256"]
    (run / "config.json").write_text(json.dumps(config))
    shutil.copytree(folder / "shapes", tmp_path / "new")
    assert with_data_dir(Run.open(run), tmp_path / "new").config.data_dir == str(tmp_path / "new")
    (tmp_path / "new" / "circle" / "000.png").unlink()
    resume = ["train", "--resume", str(run), "--steps", "5", "--quiet", "--data-dir", str(tmp_path / "new")]
    assert "other data" in refused(capsys, resume, 3)


# -- a classifier of one's own ---------------------------------------------------------------------


def test_a_classifier_is_bound_to_its_data(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_data_set(folder / "shapes")
    assert DigitClassifier.find("data-dir", data.train.sha256) is None
    made = run_json(capsys, "train-classifier", "--data-dir", str(folder / "shapes"), "--steps", "40", "--quiet")
    assert made["data_sha256"] == data.train.sha256
    found = DigitClassifier.find("data-dir", data.train.sha256)
    assert found is not None
    assert found[1] == made["sha256"]
    assert (found[0].read(data.train.images) == data.train.labels).float().mean() > 0.5
    sample = ["sample", "--run", str(folder / "run"), "--count", "4", "--sampler", "ddim", *FEW]
    assert run_json(capsys, *sample, "--out", "s.npz")["classifier_sha256"] == made["sha256"]
    (folder / "shapes").rename(folder / "moved")  # the samples are written and told all the same
    try:
        assert "classifier_sha256" not in run_json(capsys, *sample, "--out", "s.npz")
    finally:
        (folder / "moved").rename(folder / "shapes")
    write_shapes(tmp_path / "other", each=5)
    assert DigitClassifier.find("data-dir", load_data_set(tmp_path / "other").train.sha256) is None
    with pytest.raises(ValueError, match="trained on other images"):
        DigitClassifier.open(Path(made["out"]), "0" * 64)
    weights = Path(made["out"]) / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert "was changed" in refused(capsys, [*sample, "--out", "s.npz"], 3)
    assert "at least two classes" in refused(
        capsys, ["train-classifier", "--data-dir", str(write_idx(tmp_path / "one", [4] * 9))], 3
    )
