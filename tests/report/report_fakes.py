"""Small made-up recordings and pages for the report's tests; no model, no torch."""

from __future__ import annotations

import numpy as np

from viz_diffusion.report import Chapter, Chart, Line, Page, Picture, Player, Table
from viz_diffusion.report.sprites import encode
from viz_diffusion.schedule import NoiseSchedule


def fake_player(digit: int = 5, frames: int = 1000, *, noise: bool = True, seed: int = 0) -> Player:
    """Frames of pure noise, wider than the scales, so that clipping and every grey level occur."""
    rng = np.random.default_rng([seed, digit])
    timesteps = np.unique(np.round(np.linspace(0, 999, frames)).astype(np.int64))[::-1]
    count = timesteps.size
    return Player(
        digit=digit,
        x_t=rng.normal(0, 0.8, (count + 1, 28, 28)).astype(np.float32),
        x0_pred=rng.uniform(-1, 1, (count, 28, 28)).astype(np.float32),
        eps_pred=rng.normal(0, 1.4, (count, 28, 28)).astype(np.float32) if noise else None,
        timesteps=timesteps,
        alphas_cumprod=NoiseSchedule.named("linear").alphas_cumprod,
    )


def fake_picture(name: str = "snr", words: str = "A small grey square.") -> Picture:
    data = encode(np.full((9, 16), 128, dtype=np.uint8), "PNG")
    return Picture(name, data, words, f"Caption: {words}", 16, 9)


def fake_page(players: tuple[Player, ...] | None = None, words: str = "plain words") -> Page:
    """Every text field of the page holds ``words``."""
    table = Table(f"Table: {words}", (words, "share"), ((words, "12.5%"), ("row", "−3.0")))
    left = np.arange(1000, 0, -1)
    lines = (Line(f"down {words}", left / 1000), Line(f"up {words}", 1 - left / 2000))
    chart = Chart("lengths", f"Chart {words}", f"Chart caption {words}", left, lines)
    return Page(
        title=f"Title {words}",
        lede=f"Lede {words}",
        comparisons=(fake_player(5, 30, noise=False, seed=1),),
        players=players or (fake_player(5, 40), fake_player(3, 20, noise=False), fake_player(8, 20, noise=False)),
        command=f"vizdiff report {words}",
        facts=(("seed", "0"), (words, words)),
        strip=fake_picture("strip", words),
        chapters=(
            Chapter(
                "noising",
                f"Story {words}",
                f"Question {words}?",
                (fake_picture("a", words), fake_picture("b", words)),
                (f"Paragraph {words}",),
                (chart,),
                (table,),
                f"vizdiff lesson {words}",
                f"Say {words}",
                f"Exercise {words}?",
                f"Answer {words}.",
            ),
            Chapter("layers", f"Folded {words}", f"Folded question {words}?", (fake_picture("c", words),), folded=True),
        ),
        provenance=(("version", "0.1.0"), (words, words)),
    )
