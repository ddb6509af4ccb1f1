"""The settings of training: optimizer, batches, precision and what is predicted, checked when they are made.

Knows nothing about networks, data or folders.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from viz_diffusion.diffusion.parameterizations import OBJECTIVES
from viz_diffusion.diffusion.timesteps import BUMP, TIMESTEP_DENSITIES
from viz_diffusion.errors import VizdiffUsageError

NUM_EVALUATIONS = 12
"""Number of evaluations if all were evenly spaced in log; two evaluations are at most 1/12 of the run apart."""
OPTIMIZERS = ("adamw", "muon")
"""The optimizers."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of training. The learning rate depends on the step only."""

    steps: int = 5000
    """Number of optimizer steps in total."""
    batch_size: int = 128
    """Images per step."""
    learning_rate: float = 4e-3
    """Peak learning rate, reached after the warm-up; it then falls linearly to 0."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from 0 to its peak."""
    weight_decay: float = 0.01
    """Decoupled weight decay (Loshchilov & Hutter 2019)."""
    max_grad_norm: float = 1.0
    """Gradients with a larger joint norm are scaled down to this norm."""
    ema_decay: float = 0.999
    """Largest decay of the moving average of the weights; after n steps the decay is at most (1 + n) / (10 + n)."""
    label_dropout: float = 0.1
    """Fraction of training images that get the null label (Ho & Salimans 2022, algorithm 1)."""
    weight_exponent: float = 0.5
    """p: the squared error of ε̂ at t has the weight ᾱ^-p. With 0 all timesteps have equal weight in ε (Ho et al. 2020,
    eq. 14), with 1 equal weight in v (Salimans & Ho 2022, "SNR + 1"). Of the objective epsilon only."""
    precision: str = "float32"
    """Number format of the forward pass: float32, or bfloat16 by autocast."""
    seed: int = 0
    """Seed of the initial weights, the order of the images, and the timesteps and noise of each step, modulo 2**32."""
    objective: str = "epsilon"
    """What the network is trained to predict, one of :data:`OBJECTIVES`: epsilon, v, x0, or flow, the velocity of flow
    matching (:mod:`viz_diffusion.training.objective`)."""
    timestep_density: str = TIMESTEP_DENSITIES[0]
    """How the noise level is drawn. Of the objective flow, σ in 0 .. 1: uniform or logit-normal. Of the others, t:
    uniform or bump (:func:`~viz_diffusion.training.objective.timestep_probabilities`), a trial without a command-line
    option; the expected loss is the same."""

    optimizer: str = OPTIMIZERS[0]
    """adamw; or muon, which updates the hidden convolutions along orthogonal matrices and leaves the other weights to
    AdamW (:mod:`viz_diffusion.training.muon`)."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "warmup_steps"):
            if getattr(self, name) < 1:
                raise VizdiffUsageError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("learning_rate", "weight_exponent"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise VizdiffUsageError(f"{name} must be a number of at least 0, found {getattr(self, name)}")
        for name in ("label_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise VizdiffUsageError(f"{name} must lie in 0..1, found {getattr(self, name)}")
        if self.precision not in ("float32", "bfloat16"):
            raise VizdiffUsageError(f"precision must be float32 or bfloat16, found {self.precision!r}")
        if self.objective not in OBJECTIVES:
            raise VizdiffUsageError(f"`objective` must be one of {', '.join(OBJECTIVES)}, found {self.objective!r}")
        if self.optimizer not in OPTIMIZERS:
            raise VizdiffUsageError(f"`optimizer` must be {' or '.join(OPTIMIZERS)}, found {self.optimizer!r}")
        self._check_density()

    def _check_density(self) -> None:
        """Refuse a timestep density that is unknown, or of another objective."""
        density, is_flow = self.timestep_density, self.objective == "flow"
        if density not in (*TIMESTEP_DENSITIES, BUMP):
            raise VizdiffUsageError(
                f"`timestep_density` must be {' or '.join(TIMESTEP_DENSITIES)}, found {self.timestep_density!r}"
            )
        if density in TIMESTEP_DENSITIES[1:] and not is_flow:
            raise VizdiffUsageError(f"`timestep_density` goes with `objective` flow, not with {self.objective}")
        if density == BUMP and is_flow:
            raise VizdiffUsageError(f"`timestep_density` {BUMP} goes with any `objective` but flow")

    @property
    def prediction_type(self) -> str:
        """The objective as :data:`~viz_diffusion.diffusion.parameterizations.PREDICTION_TYPES` names it."""
        return OBJECTIVES[self.objective]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name, without those that other objectives have.

        The objective epsilon, uniform t of any objective but flow, and the optimizer adamw are not written: configs
        from before there were others lack them.
        """
        unused = {"epsilon": ["objective"]}.get(self.objective, ["weight_exponent"])
        if self.objective != "flow" and self.timestep_density == TIMESTEP_DENSITIES[0]:
            unused.append("timestep_density")
        if self.optimizer == OPTIMIZERS[0]:
            unused.append("optimizer")
        return {name: value for name, value in asdict(self).items() if name not in unused}

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of step 0 .. steps-1: a linear rise, then a linear fall."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        fall = 1 - max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * rise * max(0.0, fall)


@lru_cache(maxsize=1)
def evaluation_steps(config: TrainConfig) -> frozenset[int]:
    """Return the steps after which the network is evaluated, including the last.

    They are evenly spaced in log as long as their distance is at most a twelfth of the run, and then evenly in steps.
    """
    spaced = np.geomspace(min(100, config.steps), config.steps, NUM_EVALUATIONS)
    widest = config.steps / NUM_EVALUATIONS
    early = spaced[: 1 + int(np.sum(np.diff(spaced) <= widest))]
    late = np.linspace(early[-1], config.steps, 1 + int(np.ceil((config.steps - early[-1]) / widest)))
    return frozenset(int(step) for step in np.round([*early, *late]))
