"""Lesson ``network``: how timestep and label reach every block of the U-Net."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.network.architecture import measure_network
from viz_diffusion.lessons.network.figures import BlockShape, ModelShape, draw_model
from viz_diffusion.lessons.network.timestep_paths import TimestepPaths, measure_timestep_paths
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts


@dataclass(frozen=True)
class Network:
    """The blocks of the network, and the two ways of the timestep into it."""

    shape: ModelShape
    """Blocks and widths."""
    paths: TimestepPaths | None = None
    """By how much ε̂ moves; None where only the blocks were read."""


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
    layers_predict: str
    """What the layers predict: v, x₀ or ε."""
    paths: Annotated[TimestepPaths | None, FactGroup("change_")]
    """By how much ε̂ moves; None where it was not measured."""


def read_network(model: SimpleUNet, label: int = 5) -> Network:
    """Read only the blocks; see :func:`measure_network`."""
    return Network(measure_network(model, label))


def measure(context: LessonContext) -> Network:
    """Read the blocks of the network, and measure the two ways of the timestep."""
    found = read_network(context.network, context.digit)
    paths = measure_timestep_paths(context.network, context.schedule, context.heldout, context.generator(70))
    return replace(found, paths=paths)


def draw(data: Network) -> Figures:
    """Draw ``model``."""
    return Figures(model=lambda: draw_model(data.shape))


def facts(data: Network) -> NetworkFacts:
    """Return the numbers that captions and tables are filled with."""
    shape = data.shape
    return NetworkFacts(
        time_dim=shape.time_dim,
        embedding_dim=shape.embedding_dim,
        num_labels=shape.num_labels,
        input_size=shape.input_size,
        down=shape.down,
        mid=shape.mid,
        up=shape.up,
        num_parameters=shape.num_parameters,
        asked=shape.label,
        num_blocks=len(shape.down) + len(shape.mid) + len(shape.up),
        millions=shape.num_parameters / 1e6,
        layers_predict=shape.layers_predict,
        paths=data.paths,
    )


def claims(data: Network) -> tuple[Claim, ...]:
    """Decide whether t reaches the output on a second way, and whether the layers predict the noise itself."""
    if data.paths is None:
        return ()
    return (
        Claim("second_way", data.paths.last_line > 0),
        Claim("predicts_noise", data.shape.layers_predict == "ε"),
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
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("model", in_exercise=True),),
)
