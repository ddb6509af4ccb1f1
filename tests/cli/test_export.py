"""``vizdiff export``: one figure or film, in the format given."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence
from pypdf import PdfReader

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import export
from viz_diffusion.cli.export_pictures import FILM_SCALE
from viz_diffusion.cli.open_study import OpenStudy
from viz_diffusion.errors import VizdiffIOError, VizdiffUsageError
from viz_diffusion.plots import film
from viz_diffusion.plots.film_captions import counter_strip, strip_height
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views import frames as frames_view

SIDE = 28 * FILM_SCALE
HEIGHT = SIDE + strip_height(SIDE)


@pytest.fixture
def exported(short_recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Return a function that exports from the short recording and gives the file and what was said."""

    def run(*argv: str, name: str) -> tuple[Path, dict]:
        where = ["--trajectory", str(short_recording), "--run", "bundled", "--out", str(tmp_path / name)]
        code = main(["export", *argv, *where, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return tmp_path / name, json.loads(out)

    return run


def grey(states: np.ndarray) -> np.ndarray:
    return np.rint((np.clip(states, -1, 1) + 1) * 127.5)


@pytest.fixture
def states(short_recording: Path) -> np.ndarray:
    trajectory = Trajectory.open(short_recording / "trajectory.zarr")
    return np.concatenate([trajectory.x_t[0, :, 0], trajectory.x0[0]])


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_a_film_shows_every_state_and_holds_the_last(exported, states: np.ndarray, format: str) -> None:  # type: ignore[no-untyped-def]
    path, said = exported("--figure", "steps", name=f"film.{format}")
    with Image.open(path) as image:
        assert image.size == (SIDE, HEIGHT) == (said["width"], said["height"])
        assert image.info["loop"] == 0
        shown = []
        for frame in ImageSequence.Iterator(image):
            shown.append(np.asarray(frame.convert("L")))
            held = frame.info["duration"]
    assert held == 1000
    assert len(shown) == said["frames"] == 13
    assert said["steps_left_shown"] == list(range(12, -1, -1))
    middle = FILM_SCALE // 2
    for pixels, wanted in zip(shown, grey(states), strict=True):
        assert np.abs(pixels[middle:SIDE:FILM_SCALE, middle::FILM_SCALE] - wanted).max() <= 1
    assert set(said["lessons"]) == {"guess"}
    timesteps = np.round(np.arange(12, 0, -1) * 1000 / 12).astype(int) - 1
    counts = [*zip(range(12, 0, -1), timesteps.tolist(), strict=True), (0, None)]
    for pixels, count in zip(shown, counts, strict=True):
        words = ("", "step left" if count[0] == 1 else "steps left")
        assert np.abs(pixels[SIDE:].astype(int) - counter_strip(SIDE, HEIGHT - SIDE, *count, words)).max() <= 1


def test_an_mp4_plays_and_holds_the_last_frame(exported, states: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    path, said = exported("--figure", "steps", "--frames", "5", name="film.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (SIDE, HEIGHT)
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == pytest.approx(Fraction(1000, 60), rel=0.01)
        frames = [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(stream)]
    assert said["frames"] == 5
    assert len(frames) == 4 + 17  # a second at 60 ms a frame
    middle = FILM_SCALE // 2
    for index in (0, -17, -1):
        wanted = grey(states[[0, -1][index != 0]])
        assert np.abs(frames[index][middle:SIDE:FILM_SCALE, middle::FILM_SCALE] - wanted).mean() < 4


def test_the_guess_is_a_film_too(exported, short_recording: Path) -> None:  # type: ignore[no-untyped-def]
    path, _ = exported("--figure", "guess", "--format", "gif", "--frames", "12,6", name="guess.gif")
    recorded = Trajectory.open(short_recording / "trajectory.zarr")
    with Image.open(path) as image:
        shown = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(image)]
    assert len(shown) == 3
    middle = FILM_SCALE // 2
    wanted = grey(recorded.x0_pred[0, 6, 0])
    assert np.array_equal(shown[1][middle:SIDE:FILM_SCALE, middle::FILM_SCALE], wanted)


def test_a_film_has_the_size_asked_for(exported) -> None:  # type: ignore[no-untyped-def]
    path, said = exported("--figure", "steps", "--frames", "2", "--size", "360p", name="film.gif")
    with Image.open(path) as image:
        assert image.size == (640, 360) == (said["width"], said["height"])


def test_titles_are_left_out_where_asked(exported) -> None:  # type: ignore[no-untyped-def]
    shown = []
    for titles in ("on", "off"):
        path, _ = exported("--figure", "steps", "--dpi", "60", "--titles", titles, name=f"{titles}.png")
        shown.append(np.asarray(Image.open(path).convert("L")))
    assert (shown[0][:36] < 128).any()
    assert (shown[1][:36] == 255).all()


def test_stills_in_every_format(exported) -> None:  # type: ignore[no-untyped-def]
    path, said = exported("--figure", "ledger", "--dpi", "60", "--transparent", name="ledger.png")
    with Image.open(path) as image:
        assert image.size == (800, 450)
        assert image.mode == "RGBA"
        assert image.getpixel((1, 1))[3] == 0
        assert image.text["Description"] == said["caption"]
    assert set(said["lessons"]) == {"step"}
    path, _ = exported("--figure", "snr", name="snr.svg")
    assert path.read_text("utf-8").startswith("<?xml")
    path, _ = exported("--figure", "snr", name="snr.pdf")
    (page,) = PdfReader(path).pages
    assert (float(page.mediabox.width), float(page.mediabox.height)) == (960, 540)
    assert "259" in page.extract_text()


def test_a_white_page_is_there_unless_it_is_not_wanted(exported) -> None:  # type: ignore[no-untyped-def]
    path, _ = exported("--figure", "model", "--dpi", "30", name="model.png")
    with Image.open(path) as image:
        assert image.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)


def test_a_figure_gets_what_its_lesson_needs_and_no_more(
    exported,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    real = OpenStudy._sampled_comparison_runs
    monkeypatch.setattr(OpenStudy, "_sampled_comparison_runs", lambda self: calls.append(self) or real(self))
    exported("--figure", "snr", "--dpi", "20", name="snr.png")
    exported("--figure", "ledger", "--dpi", "20", name="ledger.png")
    assert not calls
    exported("--figure", "ten_digits", "--dpi", "20", name="ten.png")
    exported("--figure", "ten_digits", "--dpi", "20", name="again.png")
    assert len(calls) == 1


@pytest.mark.parametrize("figure", ["guidance", "loss_by_t", "snr"])
def test_a_figure_that_shows_no_recording_samples_nothing(
    figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it shows the full results that ship, as the report does, with its caption beside it."""
    monkeypatch.setattr(OpenStudy, "recording", property(lambda _: pytest.fail("a generation was recorded")))
    out = tmp_path / f"{figure}.png"
    argv = ["--digit", "5", "--seed", "3", "--run", "bundled", "--out", str(out), "--dpi", "20", "--json", "--quiet"]
    assert main(["export", "--figure", figure, *argv]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["recording"].items() >= {"digit": 5, "seed": 3, "num_steps": 1000, "guidance_scale": 1.5}.items()
    (found,) = said["lessons"].values()
    assert found["shipped"] == found["full"] == (figure != "snr")
    assert Path(said["caption_out"]) == tmp_path / f"{figure}.png.txt"
    title, caption, *details = (tmp_path / f"{figure}.png.txt").read_text("utf-8").strip().split("\n\n")
    assert (title, caption, details) == (said["title"], said["caption"], [said["details"]])


def test_a_film_has_its_caption_too(exported) -> None:  # type: ignore[no-untyped-def]
    path, said = exported("--figure", "guess", "--frames", "3", "--lang", "zh", name="x0.gif")
    words = path.with_name("x0.gif.txt").read_text("utf-8")
    assert said["caption"] in words
    assert "预测 x₀" in words
    assert "12 步" in words


def test_spacing_of_the_strip(exported) -> None:  # type: ignore[no-untyped-def]
    argv = ["--figure", "steps", "--dpi", "20", "--frames", "5"]
    even = exported(*argv, "--spacing", "t", name="a.png")[1]["lessons"]["guess"]["steps_left"]
    assert even == [12, 9, 6, 4, 1]
    logs = exported(*argv, "--spacing", "log-snr", name="b.png")[1]["lessons"]["guess"]
    gaps = np.diff(logs["snr_db"])
    assert logs["steps_left"] != even
    assert logs["steps_left"][0] == 12
    assert logs["steps_left"][-1] == 1
    assert gaps.max() < 2.2 * gaps.min()


def test_log_snr_spacing_is_even_in_log_snr_and_t_in_t() -> None:
    log_snr = -(np.linspace(3, -3, 1000) ** 3)
    places = frames_view.choose_frames(1000, "9", "log-snr", log_snr)
    assert np.allclose(np.diff(log_snr[places]), 54 / 8, atol=0.2)
    assert np.ptp(np.diff(frames_view.choose_frames(1000, "9", "t"))) <= 1
    with pytest.raises(VizdiffUsageError, match="spacing"):
        frames_view.choose_frames(1000, "9", "linear")
    with pytest.raises(VizdiffUsageError, match=r"1\.\.23"):
        frames_view.choose_frames(1000, "24")


def test_every_figure_of_every_lesson_is_named_when_one_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--figure", "mona_lisa", "--quiet"]) == 2
    said = capsys.readouterr().err
    for name in ("mona_lisa", "forward", "snr", "training_step", "loss", "steps", "ledger", "ten_digits", "model"):
        assert name in said


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--figure", "snr", "--format", "gif"], "snr stands still"),
        (["--figure", "guess"], "film"),
        (["--figure", "snr", "--format", "bmp"], "bmp"),
        (["--figure", "snr", "--format", "svg", "--out", "a.png"], ".svg"),
        (["--figure", "snr", "--frames", "3"], "--frames"),
        (["--figure", "snr", "--spacing", "t"], "--spacing"),
        (["--figure", "steps", "--spacing", "even"], "even"),
        (["--figure", "steps", "--spacing", "t", "--frames", "9,1"], "--spacing"),
        (["--figure", "steps", "--frames", "x"], "x"),
        (["--figure", "steps", "--frames", "99"], "99"),
        (["--figure", "steps", "--format", "gif", "--frames", "1002"], "1002"),
        (["--figure", "steps", "--format", "gif", "--dpi", "100"], "--dpi"),
        (["--figure", "steps", "--format", "gif", "--size", "4k"], "360p, 480p, 720p, 1080p, found '4k'"),
        (["--figure", "steps", "--size", "720p"], "--size goes with gif, webp, mp4, not with png"),
        (["--figure", "steps", "--titles", "none"], "--titles must be on or off, found 'none'"),
        (["--figure", "steps", "--format", "webp", "--transparent"], "--transparent"),
        (["--figure", "steps", "--format", "svg", "--dpi", "100"], "--dpi"),
        (["--figure", "steps", "--dpi", "5"], "10..1200"),
        ([], "--figure"),
    ],
)
def test_bad_input_gets_one_line(
    argv: list[str],
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert names in err
    assert not list(tmp_path.iterdir())


def test_without_an_encoder_the_mend_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(film, "find_spec", lambda _: None)
    assert main(["export", "--figure", "steps", "--format", "mp4"]) == 2
    said = capsys.readouterr().err
    assert "viz-diffusion[video]" in said
    assert said.count("\n") == 1


def test_an_mp4_has_even_sides_and_whole_frames(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(film.film_bytes(np.zeros((3, 5, 7)), "mp4", scale=1, frame_ms=100))
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert frames == [(8, 6)] * (2 + 10)


def test_an_encoder_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise av.error.EncoderNotFoundError(1, "Unknown encoder")

    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(VizdiffIOError, match=r"PyAV cannot make an MP4 here \(.*Unknown encoder.*\); choose gif or"):
        film.film_bytes(np.zeros((3, 5, 5)), "mp4", scale=1)


def test_formats_are_those_that_can_be_written() -> None:
    assert export.FILMS == film.FILM_FORMATS
