"""The blocks and widths of the network, read from a loaded model.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from typing import Any

from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.diffusion.unet_blocks import ResidualBlock
from viz_diffusion.lessons.context import require_time
from viz_diffusion.lessons.network.figures import BlockShape, ModelShape


def measure_network(model: SimpleUNet, label: int = 5) -> ModelShape:
    """Read the network's blocks, in the order of the forward pass.

    Parameters
    ----------
    label
        The label whose embedding the figure looks up.

    Raises
    ------
    VizdiffUsageError
        Where the network has no time embedding.
    """
    require_time(model)
    size = model.config.image_size

    def shape(name: str, block: Any, resolution: int, attention: bool = False) -> BlockShape:
        assert isinstance(block, ResidualBlock)
        return BlockShape(name, block.conv2.out_channels, resolution, attention)

    half = size // model.config.fold
    quarter = (half + 1) // 2  # of an odd side, such as that of a latent, the larger half
    down = [shape(f"down_outer.{i}", block, half) for i, block in enumerate(model.down_outer)]
    down += [shape(f"down_inner.{i}", block, quarter) for i, block in enumerate(model.down_inner)]
    mid = [shape("mid1", model.mid1, quarter, attention=True), shape("mid2", model.mid2, quarter)]
    mid += [shape(f"mid_more.{i}", block, quarter) for i, block in enumerate(model.mid_more)]
    up = [shape(f"up_inner.{i}", block, quarter) for i, block in enumerate(model.up_inner)]
    up += [shape(f"up_outer.{i}", block, half) for i, block in enumerate(model.up_outer)]
    return ModelShape(
        time_dim=model.config.time_dim,
        embedding_dim=model.label_emb.embedding_dim,
        num_labels=model.config.num_labels,
        input_size=size,
        down=tuple(down),
        mid=tuple(mid),
        up=tuple(up),
        num_parameters=sum(weight.numel() for weight in model.parameters()),
        layers_predict=_layers_predict(model),
        label=label,
    )


def _layers_predict(model: SimpleUNet) -> str:
    """Return ``v``, ``x₀`` or ``ε``; of flow matching it is v, that of the state with the same SNR."""
    if model.config.schedule is not None:
        return "v"
    kind = model.trained_for if isinstance(model, ConvertedUNet) else "epsilon"
    return {"v_prediction": "v", "sample": "x₀", "epsilon": "ε"}[kind]
