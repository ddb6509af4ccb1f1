"""The time embedding of a network, before and after its MLP, and the cosines between timesteps.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.context import require_time
from viz_diffusion.plots.embeddings import TimeEmbedding

NUM_COMPARED = 128
"""Timesteps in the matrices of cosines."""


@torch.no_grad()
def measure_time_embedding(
    model: SimpleUNet, num_train_timesteps: int = 1000, crossing: int | None = 259
) -> tuple[TimeEmbedding, float]:
    """Compute the embedding of every timestep, before and after the MLP, and the cosines between them.

    Parameters
    ----------
    crossing
        A timestep to mark, the first whose signal-to-noise ratio is below 1; None for none.

    Returns
    -------
    The embeddings, those after the MLP without their mean over t; and the smallest cosine of any two after the MLP with
    that mean, which all share and which makes any two similar.

    Raises
    ------
    VizdiffUsageError
        Where the network has no time embedding.
    """
    require_time(model)
    t = torch.arange(num_train_timesteps, device=next(model.parameters()).device)
    given = model.network_timesteps(t)
    sinusoids = model.time_mlp[0](given).cpu().numpy().T
    with_mean = model.time_mlp(given).cpu().numpy().T
    after = with_mean - with_mean.mean(axis=1, keepdims=True)
    by_peak = np.argsort(after.argmax(axis=1), kind="stable")
    compared = np.unique(np.linspace(0, num_train_timesteps - 1, NUM_COMPARED).round().astype(np.int64))
    last = num_train_timesteps - 1
    embedding = TimeEmbedding(
        timesteps=np.arange(num_train_timesteps),
        sinusoids=sinusoids,
        mlp=after[by_peak],
        mlp_limit=float(np.quantile(np.abs(after), 0.99)),
        cosine_timesteps=compared,
        cosine_raw=_cosines(sinusoids[:, compared]),
        cosine_mlp=_cosines(after[:, compared]),
        marks=(0, last) if crossing is None else (0, crossing, last),
    )
    return embedding, float(_cosines(with_mean[:, compared]).min())


def mean_cosine(columns: NDArray[Any], offset: int) -> float:
    """Return the mean cosine between (D, T) columns ``offset`` apart."""
    unit = columns / np.linalg.norm(columns, axis=0)
    return float((unit[:, offset:] * unit[:, : unit.shape[1] - offset]).sum(axis=0).mean())


def _cosines(columns: NDArray[Any]) -> NDArray[Any]:
    unit = columns / np.linalg.norm(columns, axis=0)
    return unit.T @ unit
