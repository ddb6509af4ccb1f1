"""The pictures of the introduction show the recording's own data."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image
from small_trajectory import make_trajectory

from viz_diffusion.plots.pixels import to_diverging8, to_gray8
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.introduction import MOST_SIDE, introduction
from viz_diffusion.report.page import Process, Tile


def decoded(tile: Tile) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(tile.uri.partition(",")[2]))))


def shown(process: Process) -> list[tuple[str, str, str]]:
    return [(tile.sign, tile.word, tile.label) for tile in process.tiles]


def with_black_image(height: int, width: int) -> Trajectory:
    """Return a recording of zeros whose finished image has this size."""
    recorded = make_trajectory(eps_cond=None, eps_uncond=None)
    states = np.zeros((*recorded.x_t.shape[:3], height, width), np.float32)
    return replace(recorded, x_t=states, eps_pred=states, x0_pred=states, x0=states[:, 0])


def test_a_recording_without_lessons_shows_its_own_states() -> None:
    recorded = make_trajectory()
    forward, training, reverse = introduction(recorded, ())
    assert [process.name for process in (forward, training, reverse)] == ["forward", "training", "reverse"]
    timesteps = [("→", "", f"t = {t}") for t in (100, 250, 450, 999)]
    assert shown(forward) == [("", "image", "x₀"), *timesteps]
    assert shown(training) == [("", "noisy_image", "x_t"), ("→", "predicted_noise", "ε̂")]
    assert [sign for sign, _, _ in shown(reverse)] == ["", "→", "→", "→", "→"]
    assert [label for _, _, label in shown(reverse)] == ["t = 999", "t = 259", "t = 7", "t = 0", "x₀"]
    assert np.array_equal(decoded(reverse.tiles[-1]), to_gray8(recorded.x0[0, 0]))
    assert np.array_equal(decoded(reverse.tiles[1]), to_gray8(recorded.x_t[0, 2, 0]))
    assert np.array_equal(decoded(forward.tiles[0]), to_gray8(recorded.x0[0, 0]))
    assert np.array_equal(decoded(training.tiles[1]), to_diverging8(recorded.eps_pred[0, 3, 0]))


def test_the_noise_of_the_forward_process_grows() -> None:
    tiles = introduction(with_black_image(40, 40), ())[0].tiles
    spread = [decoded(tile).astype(float).std() for tile in tiles]
    assert spread[0] == 0
    assert all(np.diff(spread) > 0)


def test_large_images_are_shown_small() -> None:
    tile = introduction(with_black_image(4 * MOST_SIDE, 2 * MOST_SIDE), ())[0].tiles[0]
    assert (tile.height, tile.width) == (MOST_SIDE, MOST_SIDE // 2) == decoded(tile).shape
