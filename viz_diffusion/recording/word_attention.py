"""Cross-attention of a pipeline's network, averaged over heads and layers: for each token where its attention lies.

Hooks see the queries and keys of each cross-attention; the network computes what it always computes.
Knows nothing about prompts, steps or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.hooks import RemovableHandle

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.hooks import ModuleOutputs
from viz_diffusion.recording.trajectory import Float32
from viz_diffusion.recording.word_maps import CROSS_ATTENTION

SIDE = 16
"""The maps have the size of the coarsest layer with at least so many positions a side, or else of the finest."""


class CrossAttention:
    """Hooks on the cross-attention of a network of 🤗 diffusers, from :meth:`start` to :meth:`stop`.

    A is softmax(q kᵀ / √d) of each position's query q and each token's key k (Vaswani et al. 2017, equation 1). It is
    averaged over heads and, brought to one size, over layers, as in prompt-to-prompt (Hertz et al. 2023).
    """

    def __init__(self) -> None:
        self.handles: list[RemovableHandle] = []
        """The hooks; none before :meth:`start` and after :meth:`stop`."""
        self._is_keeping = False
        self._shape = (1, 1)  # of the network's x
        self._projected: dict[tuple[int, str], Tensor] = {}  # queries and keys, by layer
        self._maps: list[Tensor] = []  # (n, L, h, w) of each layer

    def start(self, network: nn.Module) -> None:
        """Register the hooks.

        Raises
        ------
        VizdiffUsageError
            Where the network has no cross-attention whose queries and keys can be seen.
        """
        layers = cross_attention_of(network)
        if not layers:
            raise VizdiffUsageError(
                f"`word_maps` needs layers of cross-attention with queries and keys of their own, and "
                f"{type(network).__name__} has none; leave it out"
            )
        for number, layer in enumerate(layers):
            for name in ("to_q", "to_k"):
                keep = partial(self._keep_projection, (number, name))
                self.handles.append(getattr(layer, name).register_forward_hook(keep))
            attend = partial(self._attend, number)
            self.handles.append(layer.register_forward_hook(attend, with_kwargs=True))

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self._forget()

    def begin_pass(self, x: Tensor, *, keep: bool) -> None:
        """Begin a forward pass of the network with states x, (n, C, H, W), whose attention is kept if ``keep``."""
        self._forget()
        self._is_keeping, self._shape = keep and x.ndim == 4, (x.shape[-2], x.shape[-1])

    def end_pass(self) -> dict[str, Float32]:
        """End the pass; return (n, L, h, w) float32, the attention to L tokens, by its name; empty if not kept."""
        maps = self._maps
        self._forget()
        if not maps:
            return {}
        sizes = sorted({(one.shape[2], one.shape[3]) for one in maps})
        size = next((one for one in sizes if max(one) >= SIDE), sizes[-1])
        mean = torch.stack([adaptive_avg_pool2d(one, size) for one in maps]).mean(dim=0)
        found: Float32 = mean.cpu().numpy().astype(np.float32, copy=False)
        return {CROSS_ATTENTION: found}

    def _forget(self) -> None:
        self._is_keeping, self._maps = False, []
        self._projected.clear()

    def _keep_projection(self, key: tuple[int, str], _module: nn.Module, _args: Any, output: Tensor) -> None:
        if self._is_keeping:
            self._projected[key] = output.detach()

    @torch.no_grad()
    def _attend(self, number: int, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
        """Compute the attention of a layer again, from its queries and keys."""
        query, key = (self._projected.pop((number, name), None) for name in ("to_q", "to_k"))
        if query is None or key is None:
            return
        mask = kwargs.get("attention_mask", args[2] if len(args) > 2 else None)
        query, key = (torch.unflatten(values.float(), -1, (layer.heads, -1)).transpose(1, 2) for values in (query, key))
        query = query if layer.norm_q is None else layer.norm_q(query)
        key = key if layer.norm_k is None else layer.norm_k(key)
        scores = query @ key.transpose(-1, -2) * layer.scale
        if isinstance(mask, Tensor):  # (n, 1, L), added to the scores
            scores = scores + mask.float().reshape(len(scores), 1, 1, -1)
        attention = scores.softmax(dim=-1).mean(dim=1).transpose(1, 2)  # (n, L, positions)
        positions, (height, width) = attention.shape[-1], self._shape
        rows = max(1, round((positions * height / width) ** 0.5))
        if positions % rows == 0:
            self._maps.append(torch.unflatten(attention, -1, (rows, -1)))


class NetworkOutputs:
    """What is kept of a network's forward passes: the outputs of modules and the attention to each token."""

    def __init__(self, activations: Sequence[str], *, word_maps: bool = False) -> None:
        self._modules = ModuleOutputs(activations)
        self._attention = CrossAttention() if word_maps else None
        self.are_wanted = bool(activations) or word_maps
        """Whether anything is."""
        self.is_keeping = False
        """Whether a pass that is kept has begun and not ended."""

    def start(self, network: nn.Module) -> None:
        """Register the hooks."""
        self._modules.start(network)
        if self._attention is not None:
            self._attention.start(network)

    def stop(self) -> None:
        """Remove the hooks."""
        self._modules.stop()
        if self._attention is not None:
            self._attention.stop()

    def begin_pass(self, x: Tensor, *, keep: bool) -> None:
        """Begin a forward pass of the network with states x, (n, ...), of which something is kept if ``keep``."""
        self.is_keeping = keep
        self._modules.begin_pass(len(x), keep=keep)
        if self._attention is not None:
            self._attention.begin_pass(x, keep=keep)

    def end_pass(self) -> dict[str, Float32]:
        """End the pass and return what was kept, (n, ...) float32 by name."""
        self.is_keeping = False
        maps = {} if self._attention is None else self._attention.end_pass()
        return self._modules.end_pass() | maps


def cross_attention_of(network: nn.Module) -> list[nn.Module]:
    """Return a network's layers of cross-attention whose queries and keys can be seen; none for other networks."""
    return [module for module in network.modules() if _is_cross_attention(module)]


def _is_cross_attention(module: nn.Module) -> bool:
    """Whether a module is diffusers' attention from positions to the tokens of a prompt, and to nothing else."""
    return (
        bool(getattr(module, "is_cross_attention", False))
        and all(isinstance(getattr(module, name, None), nn.Module) for name in ("to_q", "to_k"))
        and getattr(module, "add_k_proj", None) is None
        and not getattr(module, "fused_projections", False)
    )
