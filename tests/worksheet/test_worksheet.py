"""The worksheet: its answers are right, and the students' file holds none of them."""

from __future__ import annotations

import base64
import json
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viz_diffusion.cli import main
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.recording.comparison_runs import Generation, kept_steps_left
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.worksheet.page import ENLARGED, picture_uri, render_key, render_sheet, write_worksheet
from viz_diffusion.worksheet.plan import FIRST_SHARE, MIN_STEPS, choose_order_steps, make_plan, roughness
from viz_diffusion.worksheet.tasks import Key, Sheet

LINEAR = NoiseSchedule.named("linear")
COMMAND = "vizdiff worksheet --digit 5 --seed 31337 --run bundled"


def blob(digit: int) -> np.ndarray:
    """Return a (28, 28) picture of background and some ink, another for each digit."""
    image = np.full((28, 28), -1, np.float32)
    image[6:22, 4 + digit : 14 + digit] = 0.9
    return image


def noised(x0: np.ndarray, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (timesteps, x_t, eps) of a generation whose noise is known."""
    timesteps = np.round(np.linspace(999, 0, steps)).astype(np.int64)
    eps = np.random.default_rng(seed).standard_normal((steps, 28, 28)).astype(np.float32)
    x_t = LINEAR.add_noise(np.broadcast_to(x0, eps.shape), eps, timesteps)
    return timesteps, x_t, eps


def fake_trajectory(steps: int = 100, digit: int = 5, seed: int = 31337, **changes: object) -> Trajectory:
    x0 = blob(digit)
    timesteps, x_t, eps = noised(x0, steps, 0)
    shape = (1, steps, 1, 28, 28)
    fields = {
        "schedule": LINEAR,
        "timesteps": timesteps,
        "x_t": x_t.reshape(shape),
        "eps_pred": eps.reshape(shape),
        "x0_pred": np.broadcast_to(x0, shape).copy(),
        "x0": x0.reshape(1, 1, 28, 28),
        "labels": np.array([digit]),
        "seeds": np.array([seed]),
        "sampler": "ddim",
        "weights_sha256": "ab" * 32,
    }
    return Trajectory(**{**fields, **changes})


def fake_others(steps: int = 100, asked: int = 5) -> list[Generation]:
    left = kept_steps_left(steps, 50)
    found = []
    for digit in (d for d in range(10) if d != asked):
        timesteps, x_t, _ = noised(blob(digit), steps, 1)
        rows = steps - left
        states = np.concatenate([x_t[rows], blob(digit)[None]])
        guesses = np.repeat(blob(digit)[None], len(left), axis=0)
        found.append(Generation(digit, "ddim", 1.5, steps, timesteps[rows], left, states, guesses))
    return found


@pytest.fixture(scope="module")
def plan() -> tuple[Sheet, Key]:
    return make_plan(fake_trajectory(), fake_others(), blob(3))


class Reader(HTMLParser):
    """Collects what a file holds besides its style and pictures: words, attributes, comments."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[bytes] = []
        self.attributes: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag == "style"
        for name, value in attrs:
            if name == "src" and value and value.startswith("data:image/png;base64,"):
                self.pictures.append(base64.b64decode(value.partition(",")[2], validate=True))
            elif name != "content":  # the content policy's hash
                self.attributes.append((name, value or ""))

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag != "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.words.append(" ".join(data.split()))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def told(self) -> str:
        """Everything but pictures and style, as one line."""
        return " | ".join([*self.words, *(value for _, value in self.attributes), *self.comments])


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def pixel_answers(sheet: Sheet, key: Key) -> list[str]:
    """Return the numbers of exercise 4 that are not also among the given ones, without their signs."""
    given = {f"{abs(v):.2f}" for v in (*sheet.pixel.x_t, *sheet.pixel.eps_pred)}
    return [text for v in (*key.pixel.x0, *key.pixel.recorded) if (text := f"{abs(v):.2f}") not in given]


def found_answers(html: str, sheet: Sheet, key: Key) -> set[str]:
    """Return which exercises' answers an HTML file tells."""
    told = read(html).told
    found = set()
    letters = key.order.letters
    joints = r"[\s,;|>–—→-]*"
    for sequence in (letters, letters[::-1]):
        if any(
            re.search(rf"\b{a}\b{joints}\b{b}\b{joints}\b{c}\b", told)
            for a, b, c in zip(sequence, sequence[1:], sequence[2:], strict=False)
        ):
            found.add("order")
    for name, digit in zip(key.guess.names, key.guess.digits, strict=True):
        if re.search(rf"\b{name}\b[^|0-9]{{0,20}}(?<!\d){digit}(?!\d)(?! of| steps|%)", told):
            found.add("guess")
    if re.search(rf"(?<!\d){key.snr.crossing}(?!\d)", told):
        found.add("snr")
    if any(re.search(rf"(?<![\d.]){value}(?!\d)", told) for value in pixel_answers(sheet, key)):
        found.add("pixel")
    for secret in (key.seed, "ab" * 32, ("ab" * 32)[:8]):
        if str(secret) in told:
            found.add(str(secret))
    return found


@pytest.mark.parametrize("lang", languages())
def test_the_students_file_holds_no_answer_and_the_key_holds_all(plan: tuple[Sheet, Key], lang: str) -> None:
    sheet, key = plan
    texts = load_texts(lang)
    assert found_answers(render_sheet(sheet, texts), sheet, key) == set()
    control = found_answers(render_key(sheet, key, COMMAND, texts), sheet, key)
    assert control == {"order", "guess", "snr", "pixel", str(key.seed)}


@pytest.mark.parametrize(
    ("leak", "exercise"),
    [
        ("<!-- {order} -->", "order"),
        ('<p id="{order}"></p>', "order"),
        ('<img alt="run W shows a {digit}">', "guess"),
        ("<p>t = 259</p>", "snr"),
        ("<i title='{x0}'></i>", "pixel"),
        ("<p data-seed=31337>", "31337"),
    ],
)
def test_control_the_search_finds_a_leak(plan: tuple[Sheet, Key], leak: str, exercise: str) -> None:
    sheet, key = plan
    words = {"order": " ".join(key.order.letters), "digit": key.guess.digits[0], "x0": pixel_answers(sheet, key)[0]}
    html = render_sheet(sheet, load_texts("en")).replace("</main>", leak.format(**words) + "</main>")
    assert found_answers(html, sheet, key) == {exercise}


def test_the_students_page_does_not_change_when_only_the_answers_do() -> None:
    others = fake_others()
    renamed = [replace(one, digit=(one.digit + 3) % 10, x0_pred=-one.x0_pred) for one in others]
    texts = load_texts("en")
    sheet, key = make_plan(fake_trajectory(), others, blob(3))
    other_sheet, other_key = make_plan(fake_trajectory(), renamed, blob(3))
    assert render_sheet(sheet, texts) == render_sheet(other_sheet, texts)
    assert key.guess.digits != other_key.guess.digits
    assert render_key(sheet, key, COMMAND, texts) != render_key(other_sheet, other_key, COMMAND, texts)


def test_the_teachers_words_are_not_on_the_students_page(plan: tuple[Sheet, Key]) -> None:
    texts = load_texts("en")
    told = read(render_sheet(plan[0], texts)).told
    for text in texts.section("worksheet.key").values():
        for piece in re.split(r"{[^}]*}", text):
            assert len(piece) < 14 or piece.strip() not in told


def test_pictures_tell_nothing_but_themselves(plan: tuple[Sheet, Key]) -> None:
    reader = read(render_sheet(plan[0], load_texts("en")))
    assert len(reader.pictures) == 8 + 4 * 4 + 9 + 1
    assert len({len(data) for data in reader.pictures}) == 1  # a noisy PNG would be longer, were it compressed
    for data in reader.pictures:
        kinds, at = [], 8
        while at < len(data):
            (length,) = struct.unpack(">I", data[at : at + 4])
            kinds.append(data[at + 4 : at + 8])
            at += 12 + length
        assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    alts = [value for name, value in reader.attributes if name == "alt"]
    assert alts[:8] == [f"Frame {letter}" for letter in "ABCDEFGH"]
    assert not [value for name, value in reader.attributes if name in ("class", "id") and re.search(r"\d{2}", value)]


def test_a_picture_is_the_frame_on_the_fixed_scale() -> None:
    frame = np.random.default_rng(0).uniform(-2, 2, (28, 28)).astype(np.float32)
    data = base64.b64decode(picture_uri(frame).partition(",")[2])
    pixels = np.asarray(Image.open(BytesIO(data)))
    assert np.array_equal(pixels[::ENLARGED, ::ENLARGED], to_gray8(frame))
    assert np.array_equal(pixels, np.kron(to_gray8(frame), np.ones((ENLARGED, ENLARGED), np.uint8)))


@pytest.mark.parametrize("page", ["sheet", "key"])
def test_pages_stand_alone(plan: tuple[Sheet, Key], page: str) -> None:
    sheet, key = plan
    texts = load_texts("en")
    html = render_sheet(sheet, texts) if page == "sheet" else render_key(sheet, key, COMMAND, texts)
    assert "<script" not in html
    assert "style=" not in html
    assert not re.search(r"https?:|url\(|@import", html)
    assert "default-src &#39;none&#39;" in html
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert all(name != "src" and not name.startswith("on") for name, _ in read(html).attributes)


def test_the_frames_are_the_recordings_own_in_the_order_the_key_says(plan: tuple[Sheet, Key]) -> None:
    sheet, key = plan
    trajectory = fake_trajectory()
    on_sheet = dict(zip(sheet.order.letters, sheet.order.frames, strict=True))
    states = {int(n): frame for n, frame in zip(trajectory.steps_left, trajectory.x_t[0, :, 0], strict=True)}
    states[0] = trajectory.x0[0, 0]
    assert sorted(key.order.letters) == list(sheet.order.letters)
    assert key.order.letters != sheet.order.letters
    assert (np.diff(key.order.steps_left) < 0).all()
    assert key.order.steps_left[0] == FIRST_SHARE * 100
    assert key.order.steps_left[-1] == 0
    for letter, left in zip(key.order.letters, key.order.steps_left, strict=True):
        assert np.array_equal(on_sheet[letter], states[int(left)])


@pytest.mark.parametrize("steps", [MIN_STEPS, 50, 250, 1000])
def test_frames_can_be_told_apart(steps: int) -> None:
    timesteps, x_t, _ = noised(blob(5), steps, 0)
    chosen = choose_order_steps(LINEAR.alphas_cumprod[timesteps])
    frames = np.concatenate([x_t, blob(5)[None]])[chosen]
    assert (np.diff(roughness(frames)) < -0.02).all()


def test_control_pure_noise_cannot_be_told_apart() -> None:
    frames = noised(blob(5), 1000, 0)[1][[0, 50, 100, 150, 200]]
    assert not (np.diff(roughness(frames)) < -0.02).all()


def test_roughness_by_hand() -> None:
    frame = np.array([[[0.0, 0.5], [3.0, 0.5]]], np.float32)  # 3 is drawn as 1
    assert roughness(frame) == pytest.approx([(0.5 + 0.5 + 1.0 + 0.0) / 4])


def test_runs_and_digits_belong_together(plan: tuple[Sheet, Key]) -> None:
    sheet, key = plan
    others = {one.digit: one for one in fake_others()}
    assert len(set(key.guess.digits)) == 4
    assert 5 not in key.guess.digits
    for k, digit in enumerate(key.guess.digits):
        assert np.array_equal(sheet.guess.frames[:, k], others[digit].states_at(sheet.guess.steps_left))
        assert np.array_equal(key.guess.finished[k], blob(digit))
        assert np.array_equal(key.guess.guesses[:, k], np.repeat(blob(digit)[None], 4, axis=0))
    assert sheet.guess.steps_left.tolist() == [55, 45, 35, 25]


def test_the_snr_table_by_hand(plan: tuple[Sheet, Key]) -> None:
    sheet, key = plan
    assert sheet.snr.timesteps.tolist() == [0, 50, 100, 150, 200, 250, 300, 400, 500]
    betas = np.linspace(1e-4, 0.02, 1000)
    exact = np.array([np.prod(1 - betas[: t + 1]) for t in sheet.snr.timesteps])
    assert np.allclose(sheet.snr.alphas_cumprod, exact, rtol=5e-4)
    assert np.allclose(key.snr.snr, sheet.snr.alphas_cumprod / (1 - sheet.snr.alphas_cumprod))
    assert (key.snr.last_above, key.snr.first_below, key.snr.crossing) == (250, 300, 259)
    assert np.prod(1 - betas[:259]) > 0.5 > np.prod(1 - betas[:260])
    a, b = sheet.snr.alphas_cumprod[5:7]
    assert key.snr.interpolated == pytest.approx(250 + 50 * (a - 0.5) / (a - b))
    assert abs(key.snr.interpolated - 259) < 3


def test_the_pixels_come_out_as_the_recording_has_them(plan: tuple[Sheet, Key]) -> None:
    sheet, key = plan
    task = sheet.pixel
    assert len({*zip(task.rows.tolist(), task.columns.tolist(), strict=True)}) == 4
    truth = blob(5)[task.rows - 1, task.columns - 1]
    assert sorted(np.sign(truth)) == [-1, -1, 1, 1]
    assert np.allclose(key.pixel.recorded, truth)
    assert np.allclose(key.pixel.x0, truth, atol=0.05)  # from numbers with two decimals
    share = LINEAR.alphas_cumprod[task.timestep]
    assert key.pixel.gap == pytest.approx(2 * share**0.5, rel=1e-3)


def test_the_same_recording_gives_the_same_sheet_and_another_seed_another() -> None:
    first, again, other = (make_plan(fake_trajectory(seed=s), fake_others(), blob(3)) for s in (1, 1, 2))
    texts = load_texts("en")
    assert render_sheet(first[0], texts) == render_sheet(again[0], texts)
    assert first[0].code != other[0].code
    orders = {make_plan(fake_trajectory(seed=s), fake_others(), blob(3))[1].order.letters for s in range(12)}
    assert len(orders) == 12


def test_what_no_worksheet_can_be_made_of_is_refused() -> None:
    with pytest.raises(VizdiffInputError, match="at least 20 steps, found 19"):
        make_plan(fake_trajectory(19), fake_others(), blob(3))
    with pytest.raises(VizdiffInputError, match="other digits, found 3"):
        make_plan(fake_trajectory(), fake_others()[:3], blob(3))
    clean = NoiseSchedule(np.full(1000, 1e-6))
    with pytest.raises(VizdiffInputError, match="never crosses 1"):
        make_plan(fake_trajectory(schedule=clean), fake_others(), blob(3))
    unfinished = fake_trajectory(x0=np.full((1, 1, 28, 28), np.nan, np.float32))
    sheet, _ = make_plan(unfinished, fake_others(), blob(3))
    with pytest.raises(VizdiffNonFiniteError, match="NaN"):
        render_sheet(sheet, load_texts("en"))


def test_files_are_written_whole(plan: tuple[Sheet, Key], tmp_path: Path) -> None:
    texts = load_texts("en")
    paths = write_worksheet(*plan, COMMAND, texts, tmp_path)
    assert [path.name for path in paths] == ["worksheet.html", "key.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"worksheet.html", "key.html"}
    assert paths[0].read_text(encoding="utf-8") == render_sheet(plan[0], texts)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded")
    short = ["--steps", "20", "--seed", "4", "--digit", "3", "--run", "bundled"]
    assert main(["trajectory", *short, "--out", str(out), "--quiet"]) == 0
    return out


def test_the_command_writes_both_files(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["worksheet", "--run", "bundled", "--trajectory", str(recorded), "--out", str(tmp_path / "w"), "--json"]
    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    student, key = (Path(said[name]).read_text(encoding="utf-8") for name in ("worksheet", "key"))
    assert (said["digit"], said["seed"]) == (3, 4)
    assert said["code"] in student
    assert said["code"] in key
    assert "vizdiff worksheet --digit 3 --seed 4 --steps 20 --run bundled" in key
    assert "--seed" not in student
    assert str(tmp_path) not in student + key
    order = r"\s*".join(f"<span>{letter}</span>" for letter in said["answers"]["order"])
    assert re.search(order, key)
    assert not re.search(order, student)


@pytest.mark.parametrize(
    ("argv", "code", "names"),
    [
        (["--steps", "19"], 2, "19"),
        (["--lang", "xx"], 2, "xx"),
        (["--digit", "11"], 2, "11"),
        (["--trajectory", "nowhere"], 3, "nowhere"),
    ],
)
def test_a_wrong_command_line_gets_one_line(
    argv: list[str], code: int, names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worksheet", *argv, "--out", str(tmp_path / "w")]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert names in err.strip().splitlines()[-1]
    assert not list(tmp_path.rglob("*.html"))
