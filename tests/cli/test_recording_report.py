"""``vizdiff report --trajectory`` on recordings of other programs: told by what they show, and nothing more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, EulerAncestralDiscreteScheduler
from foreign_recordings import record
from refusals import refused
from small_unet import small_unet

from viz_diffusion import Recorder
from viz_diffusion.cli import main
from viz_diffusion.diffusion.samplers import ImageNoise, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.text.math_html import typeset

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FOREIGN = re.compile(r"MNIST|\bdigits?\b|[{}]|\bnan\b|手写|[这一]个数字|数字 \d")
"""What must not be said of a recording that knows nothing of it."""

# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of two pictures of class 4, made by a pipeline from a folder."""
    place = tmp_path_factory.mktemp("classes")
    DDIMPipeline(small_unet(num_class_embeds=5), DDIMScheduler()).save_pretrained(place / "pipe")
    out = place / "t"
    argv = ["--label", "4", "--steps", "12", "--seed", "7", "--count", "2", "--quiet"]
    assert main(["record", str(place / "pipe"), "--out", str(out), *argv]) == 0
    return out


def test_the_report_says_what_is_known_and_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    assert main(["report", "--trajectory", str(folder), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    recorded = Trajectory.open(folder / "trajectory.zarr")
    assert (said["label"], said["seed"], said["recording"]["guidance_scale"]) == (4, 7, None)
    assert said["weights_sha256"] == recorded.weights_sha256
    assert list(said["lessons"]) == ["noising", "guess", "step"]
    assert set(said["left_out"]) == {lesson.name for lesson in all_lessons()} - {"noising", "guess", "step"}
    assert said["lessons"]["step"]["injects_more"] == 0
    page = out.read_text("utf-8")
    for words in ("class 4", "seed 7", recorded.weights_sha256, "2 images were generated together", "1 × 8 × 8"):
        assert words in page
    assert "vizdiff report --trajectory t" in re.sub("</?span>", "", page)


def test_a_students_report_names_its_audience_and_holds_no_answers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--trajectory", str(folder), "--audience", "student", "--json"]) == 0
    said, texts = json.loads(capsys.readouterr().out), load_texts("en").preferring("alone")
    assert (said["audience"], Path(said["out"])) == ("student", Path("reports/report_recording_student_t.html"))
    page = Path(said["out"]).read_text("utf-8")
    assert "vizdiff report --audience student --trajectory t" in re.sub("</?span>", "", page)
    assert 'class="verdict' not in page
    assert str(typeset(texts["chapter.noising.claim_closed_form"])) in page
    for key in ("chapter.noising.say", "chapter.guess.say", "chapter.noising.answer", "chapter.guess.answer"):
        assert str(typeset(re.split(r"[.{]", texts[key])[0])) not in page, key


@pytest.mark.parametrize("lang", languages())
def test_where_nothing_is_known_nothing_is_claimed(
    lang: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(EulerAncestralDiscreteScheduler()).save(tmp_path / "r.zarr")
    argv = ["--trajectory", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "r.html"), "--lang", lang, "--json"]
    assert main(["report", *argv]) == 0
    said, texts = json.loads(capsys.readouterr().out), load_texts(lang).preferring("alone")
    assert (said["label"], said["seed"], said["weights_sha256"]) == (None, 3, None)
    page = (tmp_path / "r.html").read_text("utf-8")
    body = page.partition("<main>")[2].partition("</main>")[0]
    text = re.sub(r"<[^>]*>|data:[^\"]*", "", body)
    assert FOREIGN.findall(text) == []
    assert texts["chapter.step.left_out"] in text
    for lesson in all_lessons():
        title = re.sub(r"<[^>]*>", "", typeset(texts[f"chapter.{lesson.name}.title"]))
        assert title in text, "told, or named as left out"
    assert "EulerAncestralDiscrete" in text


@pytest.mark.parametrize("argv", [["--steps", "1"], ["--steps", "2"]])
def test_one_or_two_steps_are_enough(argv: list[str], folder: Path, tmp_path: Path) -> None:
    pipe = folder.parent / "pipe"
    assert main(["record", str(pipe), "--out", str(tmp_path / "t"), "--quiet", *argv]) == 0
    out = ["--out", str(tmp_path / "r.html"), "--quiet"]
    assert main(["report", "--trajectory", str(tmp_path / "t"), *out]) == 0


def test_a_recorders_own_loop_with_unknown_weights_is_told_too(
    make_unet: Callable[..., Any], linear: NoiseSchedule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = make_unet()
    with Recorder(network, linear) as recorder:
        labels, visited = torch.tensor([3]), np.array([900, 400, 20])
        *_, last = ddpm_steps(network, linear, ImageNoise([1]), labels, timesteps=visited, null_label=10)
        recorder.finish(last.x_prev)
    recorder.trajectory().save(tmp_path / "r.zarr")
    argv = ["--trajectory", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "r.html")]
    line = refused(capsys, 3, "worksheet", "--trajectory", str(tmp_path / "r.zarr"))
    assert "another program (weights not known)" in line
    assert main(["report", *argv, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["lessons"]) == ["noising", "guess"], "its variance was not told"
    replace(recorder.trajectory(), eps_pred=np.full((1, 3, 1, 28, 28), np.nan, np.float32)).save(tmp_path / "r.zarr")
    assert "NaN" in refused(capsys, 6, "report", *argv)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--run", "bundled"], 3, "give the run it came from as --run"),
        (["--lessons", "guess,label"], 2, "--lessons label asks the network"),
        (["--sampler", "ddim"], 2, "whose sampler is DDIM"),
        (["--guidance", "2"], 2, "whose guidance is not known"),
        (["--digit", "3"], 2, "whose digit is 4"),
    ],
)
def test_what_does_not_fit_the_recording_is_refused(
    argv: list[str], code: int, words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    assert words in refused(capsys, code, "report", "--trajectory", str(folder), "--out", str(out), *argv)
    assert not out.exists()


@pytest.mark.parametrize(("shape", "words"), [((4, 8, 8), "latents of 4 channels"), ((1, 300, 300), "300 × 300")])
def test_what_cannot_be_drawn_is_refused(
    shape: tuple[int, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zeros = np.zeros((1, 1, *shape), np.float32)
    unknown = np.array([-1])
    Trajectory(
        NoiseSchedule.named("linear"),
        np.array([5]),
        zeros,
        zeros,
        zeros,
        zeros[:, 0],
        unknown,
        unknown,
        sampler="PNDM",
    ).save(tmp_path / "r.zarr")
    argv = ["report", "--trajectory", str(tmp_path / "r.zarr"), "--out", str(tmp_path / "r.html")]
    assert words in refused(capsys, 3, *argv)


def test_lessons_that_can_stand_alone_are_named_one_by_one(folder: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "r.html"), "--quiet", "--figures", str(tmp_path / "f")]
    assert main(["report", "--trajectory", str(folder), "--lessons", "step", *out]) == 0
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "ledger.png",
        "ledger.svg",
        "steps.png",
        "steps.svg",
    ]
