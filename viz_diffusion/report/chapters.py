"""The core chapters: what the lessons measured, joined with their words, figures and tables.

Gets measurements only; knows nothing about networks or how they were made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from viz_diffusion.lessons import clock, guess, label, network, noising, training
from viz_diffusion.plots.diagram import ModelShape
from viz_diffusion.plots.heatmap import LabelEmbedding
from viz_diffusion.plots.theme import figure_bytes, save_figure
from viz_diffusion.report.page import Chapter, Picture, Table
from viz_diffusion.report.text import Texts


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its words, in no particular file format yet."""

    name: str
    """``steps``, ``forward`` and so on: the file name without its ending."""
    figure: Figure
    """What is drawn."""
    alt: str
    """What a reader who cannot see it needs to know."""
    caption: str
    """What stands beneath it."""

    def picture(self) -> Picture:
        """Return it as a lossless WebP for the page."""
        image = Image.open(BytesIO(figure_bytes(self.figure, "png"))).convert("RGB")
        data = BytesIO()
        image.save(data, "WEBP", lossless=True, method=4)
        return Picture(self.name, data.getvalue(), self.alt, self.caption, *image.size, mime="image/webp")


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything the core chapters draw and say."""

    guess: guess.Guess
    """The recorded generation."""
    ten_digits: label.TenDigits
    """Ten generations from its noise."""
    noising: noising.Noising
    """Real digits, destroyed."""
    training: training.Training
    """The exam and the run's history."""
    labels: LabelEmbedding
    """The label vectors."""
    clock: clock.Clock
    """The time codes."""
    network: ModelShape
    """The network's widths."""


def drawings(figures: dict[str, Figure], facts: dict[str, Any], texts: Texts) -> list[Drawing]:
    """Join figures with their words, filled in from ``facts``."""
    return [
        Drawing(name, figure, texts(f"picture.{name}.alt", **facts), texts(f"picture.{name}.caption", **facts))
        for name, figure in figures.items()
    ]


def noising_drawings(data: noising.Noising, texts: Texts) -> list[Drawing]:
    """Draw ``forward`` and ``snr`` with their words."""
    facts = noising.facts(data)
    lists = {name: ", ".join(map(str, facts[name])) for name in ("digits", "timesteps")}
    return drawings(noising.draw(data), facts | lists, texts)


def save_drawing(drawing: Drawing, folder: Path) -> None:
    """Write a drawing as PNG and SVG, its caption inside."""
    for ending in ("png", "svg"):
        save_figure(drawing.figure, folder / f"{drawing.name}.{ending}", description=drawing.caption)


def run_facts(data: guess.Guess, texts: Texts) -> dict[str, Any]:
    """Return a recording's facts with the notes that captions name the sampler by."""
    facts = guess.facts(data)
    return facts | {
        "variance_note": texts(f"report.variance_{facts['variance'] or 'none'}"),
        "clip_note": texts(f"report.clip_{'on' if facts['clip'] else 'off'}"),
    }


def draw_core(measured: Measured, texts: Texts) -> Iterator[Drawing]:
    """Draw the nine pictures, one after another."""
    recording = run_facts(measured.guess, texts)
    yield from drawings(guess.draw(measured.guess), recording, texts)
    yield from drawings(label.draw_digits(measured.ten_digits), recording, texts)
    yield from noising_drawings(measured.noising, texts)
    yield from drawings(training.draw(measured.training), training.facts(measured.training), texts)
    yield from drawings(label.draw_embedding(measured.labels), label.facts_embedding(measured.labels), texts)
    yield from drawings(clock.draw(measured.clock), clock.facts(measured.clock), texts)
    yield from drawings(network.draw(measured.network), network.facts(measured.network), texts)


def build_chapters(measured: Measured, pictures: dict[str, Picture], texts: Texts) -> tuple[Chapter, ...]:
    """Return the core chapters in the order of the story."""
    contents = {
        "noising": (["forward", "snr"], _noising_table(measured, texts)),
        "training": (["training_step", "loss"], _training_table(measured, texts)),
        "guess": (["steps"], _guess_table(measured, texts)),
        "label": (["ten_digits", "label_embedding"], _label_table(measured, texts)),
        "clock": (["time_embedding"], _clock_table(measured, texts)),
        "network": (["model"], _network_table(measured, texts)),
    }
    digit = guess.facts(measured.guess)["digit"]
    return tuple(
        Chapter(
            id=name,
            title=texts[f"chapter.{name}.title"],
            question=texts[f"chapter.{name}.question"],
            pictures=tuple(pictures[shown] for shown in names),
            paragraphs=(texts[f"chapter.{name}.text"],),
            tables=(table,),
            try_this=texts(f"chapter.{name}.try_this", digit=digit),
        )
        for name, (names, table) in contents.items()
    )


def _table(name: str, columns: list[str], rows: Sequence[tuple[str, ...]], texts: Texts, **values: Any) -> Table:
    header = tuple(texts[f"chapter.{name}.column_{column}"] for column in columns)
    return Table(texts(f"chapter.{name}.table", **values), header, tuple(rows))


def _noising_table(measured: Measured, texts: Texts) -> Table:
    facts = noising.facts(measured.noising)
    columns = zip(facts["timesteps"], facts["alphas_cumprod"], facts["snr_db"], facts["clipped"], strict=True)
    rows = [(str(t), f"{share:.2%}", f"{snr:.1f}", f"{beyond:.1%}") for t, share, snr, beyond in columns]
    return _table("noising", ["t", "signal", "snr", "clipped"], rows, texts)


def _training_table(measured: Measured, texts: Texts) -> Table:
    facts = training.facts(measured.training)
    quarters = zip(facts["quarters"], facts["heldout"], strict=True)
    rows = [(f"{first}–{last}", f"{loss:.4f}") for (first, last), loss in quarters]
    rows.append((texts["chapter.training.mean"], f"{facts['heldout_mean']:.4f}"))
    return _table("training", ["quarter", "heldout"], rows, texts, heldout_count=facts["heldout_count"])


def _guess_table(measured: Measured, texts: Texts) -> Table:
    facts = guess.facts(measured.guess)
    names = ("steps_left", "timesteps", "alphas_cumprod", "snr_db", "x0_change", "x0_clipped")
    rows = [
        (str(left), str(t), f"{share:.2%}", f"{snr:.1f}", f"{change:.3f}", f"{clipped:.1%}")
        for left, t, share, snr, change, clipped in zip(*(facts[name] for name in names), strict=True)
    ]
    return _table("guess", ["left", "t", "signal", "snr", "change", "clipped"], rows, texts)


def _label_table(measured: Measured, texts: Texts) -> Table:
    facts = label.facts_embedding(measured.labels)
    rows = [
        (texts("chapter.label.row_max", pair=facts["nearest_pair"]), f"{facts['cosine_max']:.3f}"),
        (texts("chapter.label.row_min", pair=facts["farthest_pair"]), f"{facts['cosine_min']:.3f}"),
        (texts["chapter.label.row_mean"], f"{facts['cosine_mean']:.3f}"),
    ]
    return _table("label", ["what", "cosine"], rows, texts)


def _clock_table(measured: Measured, texts: Texts) -> Table:
    facts = clock.facts(measured.clock)
    columns = zip(facts["offsets"], facts["cosine_raw"], facts["cosine_mlp"], strict=True)
    rows = [(str(offset), f"{raw:.3f}", f"{after:.3f}") for offset, raw, after in columns]
    return _table("clock", ["offset", "raw", "mlp"], rows, texts)


def _network_table(measured: Measured, texts: Texts) -> Table:
    shape = measured.network
    blocks = (*shape.down, *shape.mid, *shape.up)
    rows = [(block.name, str(block.channels), f"{block.resolution} × {block.resolution}") for block in blocks]
    return _table("network", ["block", "channels", "resolution"], rows, texts)
