"""The workshop: how do time and label reach every block?

Reads widths from a loaded network; nothing here is assumed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from viz_diffusion.diffusion.unet import ResidualBlock, SimpleUNet
from viz_diffusion.lessons.base import Lesson, LessonFigure, Rows
from viz_diffusion.lessons.context import require_time
from viz_diffusion.lessons.network.figures import BlockShape, ModelShape, draw_model
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts


def measure(model: SimpleUNet, asked: int = 5) -> ModelShape:
    """Read the network's blocks, in the order in which data pass them; ``asked`` is the label to look up.

    Raises
    ------
    VizdiffUsageError
        Where the network is told no time.
    """
    require_time(model)
    size = model.config.image_size

    def shape(name: str, block: Any, resolution: int, attention: bool = False) -> BlockShape:
        assert isinstance(block, ResidualBlock)
        return BlockShape(name, block.conv2.out_channels, resolution, attention)

    half, quarter = size // 2, size // 4
    down = [shape(f"down_outer.{i}", block, half) for i, block in enumerate(model.down_outer)]
    down += [shape(f"down_inner.{i}", block, quarter) for i, block in enumerate(model.down_inner)]
    up = [shape(f"up_inner.{i}", block, quarter) for i, block in enumerate(model.up_inner)]
    up += [shape(f"up_outer.{i}", block, half) for i, block in enumerate(model.up_outer)]
    return ModelShape(
        time_dim=model.config.time_dim,
        embedding_dim=model.label_emb.embedding_dim,
        num_labels=model.config.num_labels,
        input_size=size,
        down=tuple(down),
        mid=(shape("mid1", model.mid1, quarter, attention=True), shape("mid2", model.mid2, quarter)),
        up=tuple(up),
        num_parameters=sum(weight.numel() for weight in model.parameters()),
        asked=asked,
    )


def draw(data: ModelShape) -> Figures:
    """Draw ``model``."""
    return Figures(model=lambda: draw_model(data))


def facts(data: ModelShape) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    return asdict(data) | {
        "num_blocks": len(data.down) + len(data.mid) + len(data.up),
        "millions": data.num_parameters / 1e6,
    }


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out the blocks, in the order in which data pass them."""
    blocks = (*facts["down"], *facts["mid"], *facts["up"])
    lines = ((b["name"], str(b["channels"]), f"{b['resolution']} × {b['resolution']}") for b in blocks)
    return Rows(("block", "channels", "resolution"), tuple(lines))


LESSON = Lesson(
    name="network",
    position=70,
    measure=lambda context: measure(context.network, context.digit),
    facts=facts,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("model", in_exercise=True),),
)
