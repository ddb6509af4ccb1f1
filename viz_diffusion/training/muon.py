"""Muon: gradient steps on weight matrices that are made orthogonal first (Jordan et al. 2024); AdamW for the rest.

A gradient of a matrix is mostly of a few directions, and the steps of AdamW are too. Muon replaces the matrix of the
averaged gradients by the orthogonal matrix nearest to it, so that every direction learns at the same rate. It is used
for the hidden convolutions, each a matrix from its input patch to its output features, of which the network's work
consists; vectors, embeddings, linear layers and the first and last convolution are AdamW's.
Knows nothing about losses, runs or files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
"""Decay of the averaged gradients, with Nesterov's look ahead."""
ADAMW_RMS = 0.2
"""Root mean square of an update, in units of the learning rate: about that of AdamW, so that one learning rate and one
weight decay serve both (Liu et al. 2025, "Muon is scalable for LLM training", eq. 4)."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the polynomial a s + b s³ + c s⁵ (Jordan et al. 2024): five times applied, it takes all singular values s
from 0.01 .. 1 to about 0.7 .. 1.2."""
NUM_ITERATIONS = 5


def hidden_convolutions(model: nn.Module) -> list[Tensor]:
    """Return the weights that Muon updates: (O, I, H, W) of every convolution but the first and the last one."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    named = [(name, module.weight) for name, module in model.named_modules() if isinstance(module, kinds)]
    return [weight for name, weight in named if name not in ("conv_in", "conv_out")]


class MuonAdamW(torch.optim.AdamW):
    """AdamW in which some weights are updated by Muon; one learning rate and one weight decay for both.

    Parameters
    ----------
    model
        The network whose weights are optimized.
    lr
        Learning rate.
    weight_decay
        Decoupled weight decay (Loshchilov & Hutter 2019).
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        self._matrices = {id(weight) for weight in hidden_convolutions(model)}
        super().__init__(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)

    def is_matrix(self, weight: Tensor) -> bool:
        """Return whether Muon updates a weight; its state is ``step`` and ``momentum``, (O, I, H, W)."""
        return id(weight) in self._matrices

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Make one step; the gradients of the matrices are None afterwards."""
        for group in self.param_groups:
            for weight in group["params"]:
                if self.is_matrix(weight) and weight.grad is not None:
                    self._update_matrix(weight, weight.grad, group["lr"], group["weight_decay"])
                    weight.grad = None  # AdamW passes over it
        return super().step(closure)

    def _update_matrix(self, weight: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        """Average the gradient, and move the weight along the orthogonal matrix nearest to the average."""
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(weight)}
        state["step"] += 1
        momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
        ahead = gradient + MOMENTUM * momentum
        matrix = ahead.reshape(len(ahead), -1)
        update = orthogonalize(matrix).reshape(ahead.shape)
        weight.mul_(1 - lr * weight_decay)
        # the entries of an orthogonal (M, N) matrix have the root mean square 1/√max(M, N)
        weight.add_(update, alpha=-lr * ADAMW_RMS * max(matrix.shape) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about U Vᵀ of an (M, N) matrix U S Vᵀ, by five Newton-Schulz iterations (Jordan et al. 2024).

    The singular values come to about 0.7 .. 1.2 where they were at least a hundredth of the Frobenius norm; smaller
    ones become larger. A matrix of zeros stays one.
    """
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
