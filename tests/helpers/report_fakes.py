"""Made-up players, charts and pages for tests of the report; no network, no torch."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.plots.pixels import encode
from viz_diffusion.report import Chapter, Chart, Line, Page, Picture, Player, Table
from viz_diffusion.report.page import Process, Tile
from viz_diffusion.study.blocks import Answer

HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</SCRIPT ><sCrIpT>alert(1)</sCrIpT>",
    "</style><style>*{display:none}</style>",
    "</style></title><iframe srcdoc='<script>alert(1)</script>'>",
    "</title><script>alert(1)</script>",
    "</textarea></noscript></template><script>alert(1)</script>",
    "<!--<script>",
    "--><script>alert(1)</script><!--",
    "<![CDATA[<script>alert(1)</script>]]>",
    "]]>&lt;&amp;",
    "<svg onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><script>alert&#40;1&#41;</script></svg>",
    "</text></svg><script>alert(1)</script>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "</details><details open ontoggle=alert(1)>",
    "</option></select><script>alert(1)</script>",
    "<base href=https://example.invalid/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=stylesheet href=https://example.invalid/x.css>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<a href=javascript:alert(1)>x</a>",
    "<style>@import 'https://example.invalid/x.css';</style>",
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "` onclick=`alert(1)",
    "x style=position:fixed onpointerenter=alert(1) ",
    "{{ 7 * 7 }} {% raw %} {0} {left} ${alert(1)}",
    "javascript:alert(1)",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    '\\"};alert(1);//',
    "a\u2028alert(1)\u2029c",
    "\u202eevil\u202c \ufeff\u200b",
)
"""Texts that would be executed or would break the page if they were not escaped."""


@cache
def fake_player(digit: int = 5, frames: int = 1000, *, noise: bool = True, seed: int = 0) -> Player:
    """Return a player with frames of noise beyond the scales, so that clipping and every grey level occur."""
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


@cache
def fake_comparisons() -> tuple[Player, Player]:
    """Return two more players of the digit 5: another guidance scale, and another sampler with a tenth of the steps."""
    guided = dataclasses.replace(fake_player(5, 30, noise=False, seed=1), guidance_scale=3.0)
    ddim = fake_player(5, 25, noise=False, seed=2)
    return guided, dataclasses.replace(ddim, sampler="ddim", steps_left=np.arange(100, 0, -4))


def fake_chart(left: np.ndarray, words: str = "plain words") -> Chart:
    """Return a chart of two lines that cross: one falls from 1, one rises from a half."""
    share = left / left[0]
    lines = (Line(f"down {words}", share), Line(f"up {words}", 1 - share / 2))
    return Chart(f"lengths {words}", f"Chart {words}", f"Chart caption {words}", left, lines)


def fake_introduction(words: str) -> tuple[Process, ...]:
    tile = Tile(fake_picture().uri, 16, 9, f"x_t {words}", "image")
    return tuple(
        Process(name, (tile, dataclasses.replace(tile, sign="→"))) for name in ("forward", "training", "reverse")
    )


def fake_page(
    players: tuple[Player, ...] | None = None, words: str = "plain words", audience: str = "lecturer"
) -> Page:
    """Return a page with ``words`` in every text; the first chart belongs to the first player, the second to none."""
    players = players or (fake_player(5, 40), fake_player(3, 20, noise=False), fake_player(8, 20, noise=False))
    table = Table(f"Table: {words}", (words, "share"), ((words, "12.5%"), ("row", "−3.0")))
    return Page(
        title=f"Title {words}",
        lede=f"Lede {words}",
        players=players,
        comparisons=fake_comparisons(),
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
                (fake_chart(players[0].left, words),),
                (table,),
                f"vizdiff lesson {words}",
                f"Say {words}",
                f"Exercise {words}?",
                f"Answer {words}.",
                answers=(
                    Answer(f"Asked {words}?", "Yes", f"Yes. Found in 7 of 8 {words}. More of the same.", True),
                    Answer(f"Asked again {words}?", "No", f"No. Found in none {words}.", False),
                ),
                subtitle=f"Subtitle {words}",
            ),
            Chapter(
                "layers",
                f"Folded {words}",
                f"Folded question {words}?",
                (fake_picture("c", words),),
                (f"A label, a guidance scale and the label again {words}",),
                charts=(fake_chart(np.arange(500, 0, -1), words),),
                folded=True,
            ),
        ),
        provenance=(("version", "0.1.0"), (words, words)),
        introduction=fake_introduction(words),
        audience=audience,
    )
