"""The Recorder: forward hooks on a denoiser that record its inputs and outputs while a user's loop samples.

It observes and never alters: with and without it the images and the state of every random generator are
bit-identical. What hooks cannot see (how guidance mixes two predictions, which images came out at the end) is given to
it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from viz_diffusion.diffusion.latent_space import latent_space_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.scaling import SCALINGS
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.async_writer import AsyncWriter
from viz_diffusion.recording.field_assembler import FieldAssembler
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass, PassReader, to_images
from viz_diffusion.recording.guidance_halves import GuidanceHalves
from viz_diffusion.recording.hooks import DenoiserHooks
from viz_diffusion.recording.prediction_check import check_noisy_pass, chosen_prediction_type
from viz_diffusion.recording.replaced_methods import require_hookable
from viz_diffusion.recording.samplings import find_samplings, to_trajectory
from viz_diffusion.recording.state_checks import check_scale
from viz_diffusion.recording.store.layout import CHUNK_STEPS
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.recording.word_maps import word_conventions


class Recorder:
    """Record every forward pass of a denoiser while the block lasts.

    Works around any sampling loop and any ``nn.Module`` that is called with a noisy state, a timestep and whatever
    conditions it, and that returns a tensor, a tuple whose first entry is one, a mapping with ``"sample"`` or an
    object with ``.sample``. Which argument is which is found by name and shape, and stated in
    :attr:`Trajectory.conventions`; ``arguments`` says it where that fails. States are images (B, C, H, W) or (B, H, W),
    or points (B, D). A network that ``torch.compile`` wrapped is recorded as it is, without activations; the original
    is not observed through its compiled copy.

    Parameters
    ----------
    denoiser
        The network to listen to.
    schedule
        The forward process it was trained on; gives ᾱ and SNR, and x̂_0 and ε̂ from what it predicts. For flow
        matching ``NoiseSchedule.named("flow")``; for networks that know noise levels σ
        ``NoiseSchedule.from_sigmas(sigmas)``.
    config
        How the loop samples, where it is one of this package's samplers. Any other loop gives, as far as it can,
        ``guidance_scale``, ``clip`` and ``sampler`` instead.
    prediction_type
        What the denoiser predicts: ``epsilon`` (the noise), ``v_prediction`` (Salimans & Ho 2022), ``sample`` (x_0) or
        ``flow`` (the velocity of flow matching). By default ``flow`` with a flow's schedule, else ``epsilon``, which
        is then checked: see Raises.
    arguments
        From the roles ``x``, ``t``, ``labels``, ``drop`` (a mask that is true where the condition is dropped) and
        ``keep`` (where it is kept) to the name or position of their argument, where names and shapes mislead.
    timesteps
        How the loop counts time: ``index`` (0 .. T-1), ``count`` (1 .. T), ``fraction`` (of T), ``sigma``,
        ``one_minus_sigma`` (a flow's time that is 0 at the noise) or ``log_snr``; its first values show it if the loop
        begins at the largest t, else 1 .. T and (t+1)/T look like 0 .. T-1 and t/T. A flow's 999 σ needs T = 999.
    state_channels
        Which channels of x are the state, where a condition is joined to it.
    evaluations_per_step
        How often the sampler evaluates the denoiser in a step, of which the first evaluation is the step's own, as in
        ``dpm_2`` (2). Heun's method is recognised without it.
    guidance_scale
        How the loop mixes the conditional and the unconditional prediction, ε_∅ + s (ε_y - ε_∅). Hooks see both halves
        but not the mix: without it ``eps_pred`` and ``x0_pred`` of a guided loop are NaN.
    guidance_mix
        Where the loop mixes them otherwise (rescaled or projected guidance, or guidance of some channels only, as in
        DiT): a function of the two predictions, (B, C, H, W) on the CPU. ``guidance_scale`` is then NaN.
    guidance_order
        ``conditional_first`` or ``unconditional_first``, where neither labels nor a mask tell the halves apart.
    clip
        Whether the loop clips x̂_0, and so ``x0_pred``, to [-1, 1]; by default where the schedule preserves variance.
    sampler
        The name of the loop's sampler, as captions write it.
    null_label
        The label of the unconditional prediction; by default the denoiser's own ``null_label``, if it has one.
    activations
        Dotted names or globs of modules whose output is kept too, such as ``["time_mlp", "down.*"]`` (see
        :func:`~viz_diffusion.recording.hooks.match_modules`): (B, K, ...) float32, axes as the module gives them
        after its batch, which is (C, h, w) for convolutions; under guidance the half under the label.
    activations_at
        Timesteps at which they are kept; all of them by default.
    activation_norms
        Keep only the L2 norm of each image's activation, (B, K).
    store
        Where to write while recording (a zarr folder), instead of keeping everything in memory. Several samplings
        with the same timesteps are joined as further samples, if all but the last have a multiple of 16 images. After
        an error, Ctrl-C or a kill what was written stays beside it; see :meth:`Trajectory.open`.
    dtype, compress
        Of the store; see :meth:`Trajectory.save`.
    aim
        (samples, steps) that are meant to be recorded, so that a store that was cut off can say so.
    seeds
        The seed of each image's noise.
    weights_sha256
        SHA-256 of the weights file.

    Raises
    ------
    VizdiffUsageError
        Where ``config`` is given together with one of the three parameters that it holds, hooks cannot reach into the
        denoiser, or what it predicts does not go with the schedule. While it records: where an argument cannot be read;
        and where nobody said what is predicted, and an x_t that is nearly noise has little in common with the answer,
        or the next states show that it is used as something else than noise.

    Examples
    --------
    >>> with Recorder(unet, schedule) as recorder:
    ...     recorder.finish(sample(unet))
    >>> recorder.trajectory().x_t.shape
    (1, 2, 1, 4, 4)
    """

    def __init__(
        self,
        denoiser: nn.Module,
        schedule: NoiseSchedule,
        config: SamplerConfig | None = None,
        *,
        prediction_type: str | None = None,
        arguments: Mapping[str, int | str] | None = None,
        timesteps: str | None = None,
        state_channels: slice | None = None,
        evaluations_per_step: int | None = None,
        guidance_scale: float | None = None,
        guidance_order: str | None = None,
        guidance_mix: Callable[[Tensor, Tensor], Tensor] | None = None,
        clip: bool | None = None,
        sampler: str = "",
        null_label: int | None = None,
        activations: Sequence[str] = (),
        activations_at: Collection[int] | None = None,
        activation_norms: bool = False,
        store: Path | None = None,
        dtype: str = "float32",
        compress: bool = False,
        aim: tuple[int, int] = (0, 0),
        seeds: Sequence[int] = (),
        weights_sha256: str = "",
    ) -> None:
        require_hookable(denoiser)
        is_guided = guidance_mix is not None or (config is None and guidance_scale not in (None, 0, 1))
        kind, settings = chosen_prediction_type(prediction_type, schedule), (guidance_scale, clip, sampler)
        guidance_scale, clip, sampler = _sampling_settings(config, *settings)
        clip = (schedule.scaling == SCALINGS[0] if clip is None else clip) and latent_space_of(denoiser) is None
        null = getattr(denoiser, "null_label", None) if null_label is None else null_label
        self._reader = reader = PassReader(denoiser, schedule, arguments, timesteps, state_channels, kind)
        self._hooks = DenoiserHooks(
            denoiser,
            self._reader,
            self._take_pass,
            activations=activations,
            activations_at=activations_at,
            norms=activation_norms,
            can_wait=store is None,  # what waits would be lost with a killed process
        )
        halves = GuidanceHalves(null, guidance_scale, guidance_order)
        unsaid = prediction_type is None and config is None
        self._assembler = FieldAssembler(
            schedule, halves, clip, kind, unsaid, evaluations_per_step, guidance_mix, is_guided, reader.velocity_sign
        )
        self._seeds, reader.known = seeds, word_conventions(denoiser, activations)
        self._facts = _facts(denoiser, config, sampler, clip, kind, weights_sha256, self._reader.conventions)
        self._store = None if store is None else Path(store)
        kept_chunk = CHUNK_STEPS if activations_at is None else 1
        self._storing: dict[str, Any] = {"dtype": dtype, "compress": compress, "aim": aim, "kept_chunk": kept_chunk}
        self._writer: AsyncWriter | None = None
        self._events: list[ForwardPass | FinishedImages] = []

    def __enter__(self) -> Recorder:
        self._hooks.start()
        self._events, self._facts["conventions"] = [], self._reader.begin_block()
        if self._store is not None:
            self._writer = AsyncWriter(self._store, self._assembler, self._facts, self._seeds, **self._storing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        complete = False
        try:
            self._hooks.stop()
            with suppress(*([] if kind is None else [VizdiffUsageError])):  # the loop's own error goes on
                self._hooks.read_waiting()
            complete = kind is None
        finally:
            self._reader.end_block()
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close(complete=complete)

    def finish(self, x0: Tensor) -> None:
        """Record the finished images of the last sampling, shaped like x: no forward pass shows them."""
        images = FinishedImages(to_images(x0))
        self._hooks.read_waiting()
        self._take(images)

    def _take_pass(self, one: ForwardPass) -> None:
        check_scale(one, self._assembler.schedule.scaling)
        if self._assembler.is_checked and self._assembler.prediction_type == "epsilon":
            check_noisy_pass(one, self._assembler.schedule)
        self._take(one)

    def _take(self, event: ForwardPass | FinishedImages) -> None:
        if self._writer is not None:
            self._writer.put(event)
        else:
            self._events.append(event)

    def trajectory(self, *, seeds: Sequence[int] | None = None) -> Trajectory:
        """Return what was recorded.

        Parameters
        ----------
        seeds
            The seed of each image's noise, where the Recorder was not given them. A ``store`` has its own.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, more than one sampling was, or the batch changed on the way.
        """
        if self._store is not None:
            return Trajectory.open(self._store)
        self._hooks.read_waiting()
        found = find_samplings(self._events, self._assembler)
        if len(found) > 1:
            raise VizdiffUsageError(
                f"{len(found)} samplings were recorded (t rose again): call trajectories(), "
                "or use one Recorder for each; a loop that goes back to more noise on purpose (RePaint) is several "
                "too; one that adds noise within its steps (S_churn) says Recorder(…, evaluations_per_step=…)"
            )
        return to_trajectory(found[0], self._assembler, self._seeds if seeds is None else seeds, self._facts)

    def trajectories(self) -> list[Trajectory]:
        """Return one Trajectory for each sampling of the block, in order; ``seeds`` go to their images in order."""
        if self._store is not None:
            return [self.trajectory()]
        self._hooks.read_waiting()
        found, first = [], 0
        for sampling in find_samplings(self._events, self._assembler):
            count = len(sampling.steps[0].cond.x)
            found.append(to_trajectory(sampling, self._assembler, self._seeds[first : first + count], self._facts))
            first += count
        return found


def _sampling_settings(
    config: SamplerConfig | None, guidance_scale: float | None, clip: bool | None, sampler: str
) -> tuple[float | None, bool | None, str]:
    """Return guidance scale, clip and sampler: those of the config, or the given ones; refuse both."""
    if config is None:
        return guidance_scale, clip, sampler
    if guidance_scale is not None or clip is not None or sampler:
        raise VizdiffUsageError("give either `config`, or `guidance_scale`, `clip` and `sampler`")
    return config.guidance_scale, config.clip, config.sampler


def _facts(
    denoiser: nn.Module,
    config: SamplerConfig | None,
    sampler: str,
    clip: bool,
    prediction_type: str,
    weights_sha256: str,
    conventions: Mapping[str, str],
) -> dict[str, Any]:
    """Return what is known of a recording before its first pass: fields of Trajectory, by name."""
    return {
        "sampler": sampler,
        "variance": "" if config is None else config.injected_variance,
        "eta": 0.0 if config is None else config.eta,
        "clip": clip,
        "weights_sha256": weights_sha256,
        "interventions": getattr(denoiser, "interventions", ""),
        "prediction_type": prediction_type,
        "prompts": getattr(denoiser, "prompts", ()),
        "conventions": conventions,
    }
