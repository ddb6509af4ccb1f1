"""Images in a pipeline's tensors: which rows of a batch they are, how packed latents are unpacked, and their labels.

Knows nothing about schedulers, hooks or files.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.tensor_values import to_numpy
from viz_diffusion.recording.trajectory import Float32

_TIMESTEP_NAMES = ("timestep", "timesteps", "t")
_LABEL_NAMES = ("class_labels", "labels", "label", "y")


@dataclass(frozen=True, eq=False)
class NetworkCall:
    """The arguments of one call of a pipeline's network."""

    x: Tensor
    """(n, ...): the states, more than the images where they are repeated for guidance."""
    t: float
    """The timestep as the network got it; the first image's, where each has its own; NaN where it is not known."""
    others: Mapping[str, Any]
    """The other arguments, by name."""
    null_label: int | None = None
    """The label that stands for none, where the network's config tells."""

    @property
    def labels(self) -> Tensor | None:
        """(n,) integers: the labels, where there are any."""
        found = (self.others.get(name) for name in _LABEL_NAMES)
        return next((one for one in found if isinstance(one, Tensor) and one.ndim == 1 and not _is_float(one)), None)


def read_network_call(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NetworkCall | None:
    """Return the arguments of a call of a ``unet`` or ``transformer``; None where the first one, x, is no tensor."""
    try:
        forward = inspect.signature(getattr(network, "_orig_mod", network).forward)  # a compiled network's own
        bound = dict(forward.bind(*args, **kwargs).arguments)
    except TypeError:
        bound = dict(zip(("sample", "timestep"), args, strict=False)) | kwargs
    x = bound.pop(next(iter(bound), ""), None)
    if not isinstance(x, Tensor) or not x.ndim:
        return None
    t = next((bound.pop(name) for name in _TIMESTEP_NAMES if name in bound), None)
    config = getattr(network, "config", None)
    null = getattr(config, "num_embeds_ada_norm", None)  # DiT's row of embeddings behind those of its classes
    classes = getattr(config, "num_class_embeds", None)
    null = classes - 1 if null is None and classes is not None else null
    return NetworkCall(x, float("nan") if t is None else float(tensor_of(t).flatten()[0]), bound, null)


@dataclass(frozen=True)
class ImageLayout:
    """How a scheduler's tensor (N, ...) becomes B images (B, C, H, W)."""

    count: int
    """B, the number of images."""
    is_doubled: bool = False
    """Whether the scheduler steps each image twice, for guidance: N = 2 B."""
    grid: tuple[int, int] | None = None
    """Rows and columns of packed latents, (N, rows · columns, 4 C), each token 2 x 2 pixels; None: not packed."""

    @property
    def words(self) -> str:
        """What was done to x, for the recording's conventions; nothing where it was taken as it is."""
        said = ["the first half of the batch, which guidance doubles"] if self.is_doubled else []
        return "; ".join([*said, *(["packed latents, unpacked to images"] if self.grid else [])])

    def images(self, tensor: Tensor) -> Float32:
        """Return the images of a tensor as float32 on the CPU; (B, D) becomes (B, 1, 1, D), (B, N, D) (B, 1, N, D).

        Raises
        ------
        VizdiffUsageError
            Where it has more than 4 axes, as videos have.
        """
        part = tensor[: self.count]
        if self.grid is not None and part.ndim == 3:
            rows, columns = self.grid
            blocks = part.reshape(self.count, rows, columns, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
            part = blocks.reshape(self.count, -1, 2 * rows, 2 * columns)
        if not 2 <= part.ndim <= 4:
            raise VizdiffUsageError(
                f"a recording holds images, (B, C, H, W), and the scheduler steps {tuple(tensor.shape)} (a video?)"
            )
        shape = (len(part), *(1,) * (4 - part.ndim), *part.shape[1:])
        array: Float32 = to_numpy(part.reshape(shape))
        return array


def layout_of(call: NetworkCall | None, sample: Tensor, prediction: Tensor) -> ImageLayout:
    """Return the layout of a run from its first step.

    Parameters
    ----------
    call
        The network's latest call, if its arguments were seen.
    sample, prediction
        (N, ...): what the scheduler is stepping, and what it got from the network.
    """
    rows = len(sample)
    if call is None:
        return ImageLayout(rows)
    doubled = _is_doubled(call, rows, prediction)
    return ImageLayout(rows // 2 if doubled else rows, doubled, _grid(call.others.get("img_ids"), sample))


def image_labels(call: NetworkCall | None, layout: ImageLayout) -> NDArray[np.int64] | None:
    """Return the labels of the images, (B,) int64, without those of a half for guidance; None where there are none."""
    if call is None or call.labels is None:
        return None
    rows = condition_rows(call, layout, len(call.labels))
    labels: NDArray[np.int64] = to_numpy(call.labels[rows])
    return labels if len(labels) == layout.count else None


def condition_rows(call: NetworkCall, layout: ImageLayout, rows: int) -> slice:
    """Return which of the ``rows`` rows of a network's batch are the images under their own condition.

    Of a batch that guidance doubles, the half without the null label; where labels do not tell, the first half if the
    scheduler's batch is doubled too (as DiT does), else the last rows (as the pipelines with prompts do).
    """
    count = layout.count
    first, last = slice(0, count), slice(rows - count, rows)
    if rows != 2 * count:
        return last
    if call.labels is not None and len(call.labels) == rows:
        null = call.null_label
        halves = [call.labels[half].tolist() for half in (first, last)]
        are_null = [set(half) == {null} for half in halves]
        if are_null[0] == are_null[1]:
            are_null = [len(set(half)) == 1 for half in halves]
        if are_null[0] != are_null[1]:
            return last if are_null[0] else first
    return first if layout.is_doubled else last


def are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same kind, place, shape and values."""
    alike = (one.dtype, one.device, one.shape) == (other.dtype, other.device, other.shape)
    return alike and torch.equal(one, other)


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _is_doubled(call: NetworkCall, rows: int, prediction: Tensor) -> bool:
    """Whether both halves have the same x and, under different conditions, the same prediction: that is guidance."""
    half = rows // 2
    if rows % 2 or not rows or len(call.x) != rows or not torch.equal(call.x[:half], call.x[half:]):
        return False
    conditions = [value for value in call.others.values() if isinstance(value, Tensor) and value.ndim]
    differ = any(len(value) == rows and not torch.equal(value[:half], value[half:]) for value in conditions)
    return differ and torch.equal(prediction[:half], prediction[half:])


def _grid(ids: Any, sample: Tensor) -> tuple[int, int] | None:
    """Return rows and columns of packed latents from the places of their tokens, (tokens, 3): ?, row, column."""
    if not isinstance(ids, Tensor) or sample.ndim != 3 or sample.shape[2] % 4:
        return None
    places = (ids[0] if ids.ndim == 3 else ids)[: sample.shape[1], 1:3]
    rows, columns = (int(most) + 1 for most in places.amax(dim=0))
    return (rows, columns) if rows * columns == sample.shape[1] else None
