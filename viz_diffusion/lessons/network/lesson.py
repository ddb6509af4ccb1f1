"""Lesson ``network``: how timestep and label reach every block of the U-Net."""

from __future__ import annotations

from dataclasses import dataclass

from viz_diffusion.lessons.base import Lesson, LessonFigure, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.network.architecture import measure_network
from viz_diffusion.lessons.network.figures import BlockShape, ModelShape, draw_model
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts


@dataclass(frozen=True)
class NetworkFacts:
    """What texts and JSON files say of the network."""

    time_dim: int
    """Width of the sinusoidal time embedding."""
    embedding_dim: int
    """Width of the time and label embeddings, and of their sum."""
    num_labels: int
    """Labels, the null label not counted."""
    input_size: int
    """Height and width of x_t and ε̂, pixels."""
    down: tuple[BlockShape, ...]
    """Blocks of the encoder, in the order of the forward pass."""
    mid: tuple[BlockShape, ...]
    """Blocks at the lowest resolution."""
    up: tuple[BlockShape, ...]
    """Blocks of the decoder."""
    num_parameters: int
    """Trainable parameters."""
    asked: int
    """The label whose embedding the figure looks up."""
    num_blocks: int
    """All blocks."""
    millions: float
    """Trainable parameters, in millions."""


def measure(context: LessonContext) -> ModelShape:
    """Read the blocks of the network."""
    return measure_network(context.network, context.digit)


def draw(data: ModelShape) -> Figures:
    """Draw ``model``."""
    return Figures(model=lambda: draw_model(data))


def facts(data: ModelShape) -> NetworkFacts:
    """Return the numbers that captions and tables are filled with."""
    return NetworkFacts(
        time_dim=data.time_dim,
        embedding_dim=data.embedding_dim,
        num_labels=data.num_labels,
        input_size=data.input_size,
        down=data.down,
        mid=data.mid,
        up=data.up,
        num_parameters=data.num_parameters,
        asked=data.label,
        num_blocks=len(data.down) + len(data.mid) + len(data.up),
        millions=data.num_parameters / 1e6,
    )


def rows(facts: NetworkFacts, _: Texts) -> Rows:
    """Return the blocks, in the order of the forward pass."""
    blocks = (*facts.down, *facts.mid, *facts.up)
    lines = ((one.name, str(one.channels), f"{one.resolution} × {one.resolution}") for one in blocks)
    return Rows(("block", "channels", "resolution"), tuple(lines))


LESSON = Lesson(
    name="network",
    any_data=True,
    position=70,
    measure=measure,
    facts=facts,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("model", in_exercise=True),),
)
