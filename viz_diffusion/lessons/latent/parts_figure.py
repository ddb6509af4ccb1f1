"""The parts of Stable Diffusion, with their sizes here and in Stable Diffusion 1.5.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words
from viz_diffusion.training.bundled_runs import BUNDLED_LATENT_TEXT

TEXT_ENCODER, DENOISER, AUTOENCODER = 123_060_480, 859_520_964, 83_653_863
"""Parameters of Stable Diffusion 1.5: CLIP ViT-L/14's text encoder, the U-Net, the variational autoencoder (weights of
its model card on Hugging Face; Rombach et al. 2022)."""
LATENT, IMAGE = (4, 64, 64), (3, 512, 512)
"""Channels, rows and columns of its latents and images."""
COMMAND = f'vizdiff trajectory --run {BUNDLED_LATENT_TEXT} --prompt "a thin leaning seven"'
"""Generates with all parts in one model."""
RUNS = {"labels": "bundled-latent", "prompts": BUNDLED_LATENT_TEXT}
"""The bundled run of a row."""
MIDDLES = (720, 1330, 1860, 2360, 2880)
"""Where the columns are, in page pixels: text encoder, denoiser, latent, decoder, image."""
Y, HEIGHT = 530, 300
"""Middle and height of the boxes."""


@dataclass(frozen=True)
class PartSizes:
    """Sizes of a model's parts: a row of the table."""

    name: str
    """Of the row: ``labels``, ``prompts`` or ``measured``."""
    text_encoder: int | None
    """Parameters; None where a label takes its place, or it is not known."""
    denoiser: int
    """Parameters of the denoiser in latents."""
    autoencoder: int
    """Parameters of encoder and decoder."""
    latent: tuple[int, ...]
    """(C, H, W)."""
    image: tuple[int, ...]
    """(C, H, W)."""


def draw_stable_diffusion(sizes: Sequence[PartSizes], latent: Array, image: Array) -> Figure:
    """Draw text encoder, denoiser, (c, h, w) latent, decoder and (H, W) image, and a table of their sizes.

    The table has a row for each of ``sizes``, two at most, and the last one for Stable Diffusion 1.5.
    """
    with theme.use_theme():
        words = figure_words("stable_diffusion")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        for column, name, width in ((0, "text_encoder", 500), (1, "denoiser", 460), (3, "decoder", 400)):
            _box(figure, page, MIDDLES[column], width, words(name), words(f"{name}_note"))
        theme.write(figure, 200, Y, words("prompt"), 20, va="center", linespacing=1.4)
        theme.write(figure, MIDDLES[1], Y - HEIGHT / 2 - 130, words("noise"), va="center")
        theme.arrow(page, (MIDDLES[1], Y - HEIGHT / 2 - 95), (MIDDLES[1], Y - HEIGHT / 2 - 12))
        _place_latent(figure, latent)
        factor = 252 // image.shape[-1]
        half = factor * image.shape[-1] / 2
        raster.place_digit(figure, MIDDLES[4] - half, Y - half, factor, image)
        for start, end in ((345, 458), (982, 1088), (1572, 1724), (1996, 2148), (2572, 2742)):
            theme.arrow(page, (start, Y), (end, Y))
        _table(figure, page, sizes)
        theme.write(
            figure,
            90,
            1668,
            words(
                "source",
                runs="".join(words(f"runs_{one.name}", run=RUNS[one.name]) for one in sizes if one.name in RUNS),
                command=COMMAND,
            ),
            ha="left",
            va="center",
            color=theme.MUTED,
            linespacing=1.4,
        )
        return figure


def _box(figure: Figure, page: Axes, middle: float, width: float, name: str, note: str) -> None:
    """Draw a box with its name and, beneath the name, what it does."""
    style = "round,pad=0,rounding_size=24"
    corner = (middle - width / 2, Y - HEIGHT / 2)
    page.add_patch(FancyBboxPatch(corner, width, HEIGHT, boxstyle=style, fc=theme.PAPER, ec=theme.PURPLE, lw=3.5))
    theme.write(figure, middle, Y - 70, name, 22, va="center", linespacing=1.2)
    theme.write(figure, middle, Y + 66, note, va="center", color=theme.MUTED, linespacing=1.3)


def _place_latent(figure: Figure, latent: Array) -> None:
    """Place the channels of a latent in two columns around the middle of its own column."""
    factor, gap = 112 // latent.shape[-1], 12
    side = factor * latent.shape[-1]
    for channel, values in enumerate(latent):
        row, column = divmod(channel, 2)
        left = MIDDLES[2] - side - gap / 2 + column * (side + gap)
        raster.place_noise(figure, left, Y - side - gap / 2 + row * (side + gap), factor, values)


def _table(figure: Figure, page: Axes, sizes: Sequence[PartSizes]) -> None:
    """Draw the heads, a row for each of ``sizes`` and one for Stable Diffusion, in the height of three rows."""
    words = figure_words("stable_diffusion")

    def shape(numbers: Sequence[int]) -> str:
        return " × ".join(map(str, numbers))

    def count(number: int) -> str:
        return f"{number:,}"

    def own(one: PartSizes) -> tuple[str, ...]:
        text = words(f"text_{one.name}") if one.text_encoder is None else count(one.text_encoder)
        return text, count(one.denoiser), shape(one.latent), count(one.autoencoder), shape(one.image)

    heads = ["parameters", "parameters", "latent", "autoencoder", "image"]
    published = (count(TEXT_ENCODER), count(DENOISER), shape(LATENT), count(AUTOENCODER), shape(IMAGE))
    rows = [*((f"here_{one.name}", own(one)) for one in sizes), ("published", published)]
    height = 606 / len(rows)
    for middle, head in zip(MIDDLES, heads, strict=True):
        theme.write(figure, middle, 888, words(head), color=theme.MUTED, va="baseline", linespacing=1.25)
    for row, (name, cells) in enumerate(rows):
        y = 920 + (row + 0.5) * height
        page.plot([90, 3110], [y - height / 2, y - height / 2], color=theme.FAINT, lw=2)
        theme.write(figure, 90, y, words(name), ha="left", va="center", linespacing=1.3)
        for middle, cell in zip(MIDDLES, cells, strict=True):
            colour = theme.ORANGE if name == "published" else theme.PURPLE
            theme.write(figure, middle, y, cell, 20, va="center", color=colour, linespacing=1.25)
