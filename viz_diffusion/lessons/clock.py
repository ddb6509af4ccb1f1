"""The blind sculptor's clock: how does the network know how far it is?

Measures the time embedding before and after its MLP; knows nothing about images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from viz_diffusion.model import SimpleUNet
from viz_diffusion.plots.heatmap import TimeEmbedding, draw_time_embedding

NUM_COMPARED = 128
OFFSETS = (1, 10, 100, 500)
"""Distances in t at which the likeness of two codes is told."""


@torch.no_grad()
def measure(model: SimpleUNet, num_train_timesteps: int = 1000, crossing: int | None = 259) -> TimeEmbedding:
    """Compute the code of every timestep, raw and after the MLP, and how alike the codes are."""
    t = torch.arange(num_train_timesteps, device=next(model.parameters()).device)
    sinusoids = model.time_mlp[0](t).cpu().numpy().T
    after = model.time_mlp(t).cpu().numpy().T
    order = np.argsort(after.argmax(axis=1), kind="stable")
    compared = np.unique(np.linspace(0, num_train_timesteps - 1, NUM_COMPARED).round().astype(np.int64))
    last = num_train_timesteps - 1
    return TimeEmbedding(
        timesteps=np.arange(num_train_timesteps),
        sinusoids=sinusoids,
        mlp=after[order],
        mlp_limit=float(np.quantile(np.abs(after), 0.99)),
        cosine_timesteps=compared,
        cosine_raw=_cosines(sinusoids[:, compared]),
        cosine_mlp=_cosines(after[:, compared]),
        marks=(0, last) if crossing is None else (0, crossing, last),
    )


def draw(data: TimeEmbedding) -> dict[str, Figure]:
    """Draw ``time_embedding``."""
    return {"time_embedding": draw_time_embedding(data)}


def facts(data: TimeEmbedding) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    kept = [d for d in (*OFFSETS, len(data.timesteps) - 1) if d < len(data.timesteps)]
    return {
        "time_dim": data.sinusoids.shape[0],
        "embedding_dim": data.mlp.shape[0],
        "offsets": kept,
        "cosine_raw": [_mean_cosine(data.sinusoids, d) for d in kept],
        "cosine_mlp": [_mean_cosine(data.mlp, d) for d in kept],
        "mlp_limit": data.mlp_limit,
        "compared": len(data.cosine_timesteps),
    }


def _cosines(columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    unit = columns / np.linalg.norm(columns, axis=0)
    return unit.T @ unit


def _mean_cosine(columns: np.ndarray[Any, Any], offset: int) -> float:
    """Return the mean cosine between codes ``offset`` timesteps apart."""
    unit = columns / np.linalg.norm(columns, axis=0)
    return float((unit[:, offset:] * unit[:, : unit.shape[1] - offset]).sum(axis=0).mean())
