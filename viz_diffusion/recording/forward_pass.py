"""One forward pass of a denoiser, read from the arguments and the output of a call.

It knows nothing about hooks, steps or files: tensors come in, arrays go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.scaling import SCALINGS
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.arguments import ArgumentReader, Conditioning, PassArguments
from viz_diffusion.recording.tensor_values import is_transformed, output_tensor, to_numpy
from viz_diffusion.recording.timestep_reader import TimestepReader
from viz_diffusion.recording.trajectory import Float32

_SHAPES = {
    2: "points (n, D), recorded as (n, 1, 1, D)",
    3: "images (n, H, W) or signals (n, C, L), recorded as (n, 1, H, W)",
    4: "",
}
"""From the number of axes of x to what they mean, where they are not (n, C, H, W)."""
_FUNCTIONS_OF_SIGMA = ("c_noise", "noise_labels", "noise_cond", "log_sigma", "log_sigmas")
"""Names that speak of a function of σ: ln σ, or the ln σ / 4 of Karras et al. 2022, table 1."""


def _four_axes(values: Float32) -> Float32:
    """Return states with the axes (n, C, H, W) in which they are recorded."""
    if values.ndim == 4:
        return values
    missing = (1,) * (4 - values.ndim)
    return values.reshape(len(values), *missing, *values.shape[1:])


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One call of the denoiser with n images, copied to the CPU."""

    t: float
    """The timestep that all n images share, on the scale 0 .. T-1; whole where it is one of the schedule's."""
    x: Float32
    """(n, C, H, W) float32: the states x_t that the denoiser was called with."""
    prediction: Float32
    """(n, C, H, W) float32: what it predicted; a flow's velocity always as ε - x_0."""
    labels: NDArray[np.int64]
    """(n,) int64; -1 for each image where the call had no labels."""
    activations: Mapping[str, Float32] = field(default_factory=dict)
    """(n, ...) float32: the output of each recorded module, by dotted name."""
    alphas_cumprod: float = float("nan")
    """ᾱ at ``t``."""
    dropped: NDArray[np.bool_] | None = None
    """(n,) bool: where a mask dropped the condition; None where the call had no such mask."""
    conditions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(n,) by name: a number for each image's value of every other argument, the same for equal values."""


@dataclass(frozen=True, eq=False)
class FinishedImages:
    """The images that a sampling ended with, passed on by the sampling loop because no forward pass shows them."""

    x0: Float32
    """(B, C, H, W) float32."""


class PassReader:
    """Reads forward passes: roles of the arguments, the timestep's convention, the shape of the states.

    Parameters
    ----------
    denoiser
        The network.
    schedule
        The forward process.
    arguments, timesteps
        As of :class:`~viz_diffusion.recording.recorder.Recorder`.
    state_channels
        Which channels of x are the state; None where all of them are.
    prediction_type
        What the denoiser predicts, one of ``PREDICTION_TYPES``.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        schedule: NoiseSchedule,
        arguments: Mapping[str, int | str] | None = None,
        timesteps: str | None = None,
        state_channels: slice | None = None,
        prediction_type: str = "epsilon",
    ) -> None:
        self.arguments = ArgumentReader(denoiser, arguments)
        """Finds the roles of the arguments, and knows the calls that it read."""
        self._schedule, self._convention = schedule, timesteps
        self._timesteps = TimestepReader(schedule, timesteps)
        if state_channels is not None and not isinstance(state_channels, slice):
            raise VizdiffUsageError(
                f"`state_channels` must be a slice, such as slice(0, 3), found {type(state_channels).__name__}"
            )
        self._channels = state_channels
        self._prediction_type = prediction_type
        self.known: Mapping[str, str] = {}
        """What is known before the first pass and stated with it."""
        self.conventions: dict[str, str] = {}
        """How the first pass of the block was read, as text by role; empty before it."""

    def begin_block(self) -> dict[str, str]:
        """Forget how the passes of an earlier block were read; return the new :attr:`conventions`, yet empty."""
        self._timesteps = TimestepReader(self._schedule, self._convention)
        self.conventions = {}
        return self.conventions

    def velocity_sign(self) -> int:
        """Return 1, or -1 for velocities where time runs from noise to data, so that they are x_0 - ε."""
        return -1 if self._prediction_type == "flow" and self._timesteps.noise_at_zero else 1

    def read_inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[PassArguments, float, float]:
        """Return the arguments by role, t on the scale 0 .. T-1, and ᾱ.

        Raises
        ------
        VizdiffUsageError
            As of :meth:`ArgumentReader.read` and :meth:`TimestepReader.read`; and where the pass runs under
            ``torch.vmap``, whose images no hook can copy.
        """
        if any(isinstance(value, Tensor) and is_transformed(value) for value in (*args, *kwargs.values())):
            raise VizdiffUsageError(
                "this forward pass runs under torch.vmap or another torch.func transform, whose images a hook cannot "
                "copy: call the denoiser with the whole batch"
            )
        read = self.arguments.read(args, kwargs)
        t, share = self._timesteps.read(read.t)
        if self._convention is None:
            self._check_name(read.given.names["t"], read.t, t)
        return read, t, share

    def _check_name(self, name: str, values: Tensor | float, t: float) -> None:
        """Refuse times whose name speaks of noise levels σ, or of a function of them, where they are read otherwise."""
        scaling = self._schedule.scaling
        if scaling == SCALINGS[0] and name in ("sigma", "sigmas") and t != int(t):
            raise VizdiffUsageError(
                f"the argument {name} is {_first(values):g}, no timestep of this variance-preserving schedule: for "
                "noise levels σ give the Recorder NoiseSchedule.from_sigmas(sigmas); else say how timesteps are "
                "counted: Recorder(…, timesteps=…)"
            )
        begins = not self.conventions and scaling == SCALINGS[1] and name in _FUNCTIONS_OF_SIGMA
        if begins and _first(values) <= np.log(self._schedule.noise_scale[-1]) + 1e-3:
            raise VizdiffUsageError(
                f"the argument {name} is {_first(values):g} at the first pass, which seems to be a function of σ, such "
                "as ln σ / 4: record the module around the denoiser that is called with x and σ themselves; if it is "
                'σ, say so: Recorder(…, timesteps="sigma")'
            )

    def read(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        output: Any,
        activations: Mapping[str, Float32],
        *,
        copied: bool = False,
    ) -> ForwardPass:
        """Return one forward pass; ``copied`` where the arguments are copies already, which it may keep.

        Raises
        ------
        VizdiffUsageError
            As of :meth:`read_inputs`; and where x and the output do not have the same shape apart from channels that
            hold a variance or a condition.
        """
        inputs, t, share = self.read_inputs(args, kwargs)
        state, prediction = self._states(inputs.x, output_tensor(output))
        if not self.conventions:
            self._state_conventions(inputs, state)
        x = to_numpy(state, copy=not copied or state is not inputs.x)
        return self._pass(t, share, inputs.given, x, to_numpy(prediction), activations)

    def read_known(
        self,
        x: Tensor,
        t: float,
        given: Conditioning,
        output: Any,
        activations: Mapping[str, Float32],
        *,
        copied: bool = False,
    ) -> ForwardPass:
        """Return a pass whose arguments equal those of an earlier pass apart from x, which is a copy, and t.

        ``copied`` where the output is a copy too, which it may keep.

        Raises
        ------
        VizdiffUsageError
            As of :meth:`read`.
        """
        index, share = self._timesteps.place(t)
        if self._convention is None:
            self._check_name(given.names["t"], t, index)
        state, prediction = self._states(x, output_tensor(output))
        values = to_numpy(prediction, copy=not copied)
        return self._pass(index, share, given, to_numpy(state, copy=state is not x), values, activations)

    def _pass(
        self,
        t: float,
        share: float,
        given: Conditioning,
        x: Float32,
        prediction: Float32,
        activations: Mapping[str, Float32],
    ) -> ForwardPass:
        for role, name in given.names.items():  # the first pass may have no labels
            self.conventions.setdefault(role, name)
        self.conventions["timesteps"] = self._timesteps.words
        if self.velocity_sign() < 0:
            np.negative(prediction, out=prediction)
        x, prediction = _four_axes(x), _four_axes(prediction)
        return ForwardPass(t, x, prediction, given.labels, activations, share, given.dropped, given.conditions)

    def _states(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state and the prediction of it, of one shape, without channels that hold something else."""
        state = x if self._channels is None else x[:, self._channels]
        if state.shape == output.shape and state.ndim in _SHAPES:
            return state, output
        if state.ndim not in _SHAPES or output.ndim != state.ndim:
            raise VizdiffUsageError(
                f"x of shape {tuple(x.shape)} and an output of shape {tuple(output.shape)} are neither images "
                "(n, C, H, W) or (n, H, W) nor signals (n, C, L) nor points (n, D)"
            )
        if output.ndim > 2 and output.shape[1] == 2 * state.shape[1]:  # the second half is a learned variance
            output = output[:, : state.shape[1]]
        if state.ndim > 2 and state.shape[1] > output.shape[1] and state.shape[2:] == output.shape[2:]:
            raise VizdiffUsageError(
                f"the denoiser takes {state.shape[1]} channels and returns {output.shape[1]}: say which of them are "
                f"the state x_t and not a condition, such as Recorder(…, state_channels=slice(0, {output.shape[1]}))"
            )
        if state.shape != output.shape:
            raise VizdiffUsageError(
                f"x has the shape {tuple(state.shape)} and the output {tuple(output.shape)}; the Recorder knows "
                "outputs with as many channels as x, or twice as many (a learned variance)"
            )
        return state, output

    def _state_conventions(self, inputs: PassArguments, state: Tensor) -> None:
        self.conventions.update({**inputs.given.names, **self.known})
        words = _SHAPES[state.ndim]
        if words:
            self.conventions["shape"] = words
        if self._channels is not None:
            first, last, _ = self._channels.indices(inputs.x.shape[1])
            self.conventions["state_channels"] = f"{first} .. {last - 1} of {inputs.x.shape[1]}"

    def end_block(self) -> None:
        """Let go of the copies of arguments that later passes were compared with."""
        self.arguments.end_block()


def _first(values: Tensor | float) -> float:
    return float(values.reshape(-1)[0]) if isinstance(values, Tensor) else values


def to_images(x0: Tensor) -> Float32:
    """Copy finished images or points to the CPU, (B, C, H, W) float32, in the shape in which states are recorded.

    Raises
    ------
    VizdiffUsageError
        Where they are no floating-point tensor, or have neither two nor three nor four axes.
    """
    if not isinstance(x0, Tensor) or not x0.is_floating_point():
        found = x0.dtype if isinstance(x0, (Tensor, np.ndarray)) else type(x0).__name__
        raise VizdiffUsageError(f"finished images must be a floating-point tensor, scaled as x_t is, found {found}")
    if x0.ndim not in _SHAPES:
        raise VizdiffUsageError(f"finished images must be (B, C, H, W), (B, H, W) or (B, D), found {tuple(x0.shape)}")
    return _four_axes(to_numpy(x0))
