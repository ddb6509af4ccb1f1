"""A branch of the live page made again in PyTorch, by the package's own samplers.

Knows nothing about files or the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.embedded_timestep import embedded_timesteps, has_time_embedding
from viz_diffusion.diffusion.interventions import WithInterventions, freeze_timestep
from viz_diffusion.diffusion.label_mixture import mixed_labels
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.state_edits import FINISHED, hold, paint, renoise
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.live.saved_branch import Change, Held, SavedBranch, Settings
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.config import RunConfig

HOLD_SEED = 2**31
"""Added to the seed, modulo 2**32, for the noise that RePaint adds."""


@dataclass(frozen=True, eq=False)
class Replay:
    """A branch that was made again."""

    trajectory: Trajectory
    """Every step, to the finished image; where the branch had not come so far, with its last settings."""
    deviation: float
    """The largest distance of a pixel from the state that the page saved."""


@own_defaults()
@torch.no_grad()
def replay_branch(
    branch: SavedBranch,
    network: SimpleUNet,
    config: RunConfig,
    on_step: Callable[[], object] | None = None,
) -> Replay:
    """Sample a branch again.

    Parameters
    ----------
    network
        That of the run, from :meth:`Run.load_model`, on the CPU.
    on_step
        Called after each step.

    Raises
    ------
    VizdiffInputError
        Where the branch does not fit the network.
    """
    player = _Player(branch, network, config)
    steps = []
    for step in player.steps():
        steps.append(step)
        if on_step is not None:
            on_step()
    reached = player.finished if branch.finished else steps[branch.steps_made - 1].x_t
    deviation = float((reached[0] - torch.from_numpy(branch.last_state)).abs().max())
    return Replay(_trajectory(branch, player, steps), deviation)


class _Player:
    """Makes the steps of a branch, one after another."""

    def __init__(self, branch: SavedBranch, network: SimpleUNet, config: RunConfig) -> None:
        if branch.image_shape != config.image_shape:
            raise VizdiffInputError(
                f"the saved images have the shape {branch.image_shape}, and the run's {config.image_shape}; "
                "choose the `run` that they were made with"
            )
        self.branch, self.config, self.network = branch, config, network
        self.denoisers: dict[str, SimpleUNet] = {}
        self.schedule = self._process("euler" if branch.schedule == "flow" else "ddim")
        if self.schedule.name != branch.schedule or branch.timesteps[0] >= self.schedule.num_train_timesteps:
            raise VizdiffInputError(
                f"the saved steps are on the schedule {branch.schedule} from t = {branch.timesteps[0]} on, and the "
                f"run's is {self.schedule.name}, T = {self.schedule.num_train_timesteps}; choose another `run`"
            )
        self.draws: dict[int, _Draws] = {}
        self.finished = torch.empty(0)

    def steps(self) -> Iterator[Step]:
        """Yield each step as the page shows it: the prediction at the state after strokes, and what comes next."""
        branch, x_T = self.branch, self._draw(self.branch.seed, 0)
        came = x_T
        if branch.drawing is not None:
            came = self.schedule.add_noise(torch.from_numpy(branch.drawing)[None], x_T, branch.timesteps[0])
        change = branch.changes[0]
        for k, t in enumerate(branch.timesteps):
            change, strokes = branch.changes.get(k, change), branch.changes[k].strokes if k in branch.changes else ()
            x = self._held(came, change.hold, t)
            for stroke in strokes:
                x0 = self._step(x, k, stroke.settings).x0_pred
                x = paint(x, x0, torch.from_numpy(stroke.coverage), stroke.ink, self.schedule, t)
            first = self._step(x, k, change.settings)
            came = self._again(first, k, change).x_prev
            yield Step(t, x, *_prediction(first), first.noise, came)
        self.finished = self._held(came, change.hold, FINISHED)

    def _again(self, step: Step, k: int, change: Change) -> Step:
        """Make a step several times where pixels are held: noised up again, and down (RePaint)."""
        t, held = self.branch.timesteps[k], change.hold
        if held is None or self._next(k) == FINISHED:
            return step
        seed = (self.branch.seed + HOLD_SEED) % 2**32
        for one in range(1, held.rounds):
            noise = self._draw(seed, k * (held.rounds - 1) + one - 1)
            back = renoise(step.x_prev, noise, self.schedule, self._next(k), t)
            step = self._step(self._held(back, held, t), k, change.settings)
        return step

    def _step(self, x: Tensor, k: int, settings: Settings) -> Step:
        """Make one step from a state by the sampler of the settings, at two timesteps or at the last one."""
        t_next, null = self._next(k), self.network.null_label
        mixture = None if isinstance(settings.label, int) else torch.from_numpy(settings.label)
        label = settings.label if isinstance(settings.label, int) else 0
        if label > null or (mixture is not None and len(mixture) != null + 1):
            raise VizdiffInputError(f"the saved label {settings.label} is none of the run's; choose another `run`")
        self._process(settings.method)
        denoiser: nn.Module = self.denoisers[settings.method]
        sampler = SamplerConfig(
            settings.method,
            guidance_scale=settings.guidance,
            variance=settings.variance if settings.method == "ddpm" else "beta",
            eta=settings.eta if settings.method == "ddim" else 0.0,
        )
        seed, first = [noise for noise in self.branch.noises if noise[1] <= k][-1]
        noise = _StateThenNoise(x, lambda: self._draw(seed, k - first + 1))
        visited = np.array([self.branch.timesteps[k]] + [t_next] * (t_next != FINISHED))
        with self._told(denoiser, settings, x) as told, ExitStack() as stack:
            if mixture is not None:
                stack.enter_context(mixed_labels(self.network, mixture))
            labels = torch.tensor([label])
            steps = sampling_steps(told, self.schedule, noise, labels, sampler, timesteps=visited, null_label=null)
            return next(steps)

    @contextmanager
    def _told(self, denoiser: nn.Module, settings: Settings, x: Tensor) -> Iterator[nn.Module]:
        """Yield the denoiser with the timestep that it is told."""
        if settings.told is None:
            yield denoiser
            return
        t, where = settings.told
        if t >= self.schedule.num_train_timesteps:
            raise VizdiffInputError(f"the saved timestep {t} is none of the run's; choose another `run`")
        if where == "everywhere":
            yield WithInterventions(denoiser, freeze_timestep(t))
        elif has_time_embedding(denoiser):
            with embedded_timesteps(denoiser, torch.tensor([t] * (len(x) if settings.guidance == 1 else 2 * len(x)))):  # type: ignore[arg-type]
                yield denoiser
        else:
            yield denoiser

    def _held(self, x: Tensor, held: Held | None, t: int) -> Tensor:
        if held is None:
            return x
        mask, known = torch.from_numpy(held.mask), torch.from_numpy(held.known)
        return hold(x, mask, known, self._draw(self.branch.seed, 0), self.schedule, t)

    def _process(self, method: str) -> NoiseSchedule:
        denoiser, schedule = self.config.sampled(self.network, method)
        self.denoisers[method] = denoiser
        return schedule

    def _next(self, k: int) -> int:
        return self.branch.timesteps[k + 1] if k + 1 < len(self.branch.timesteps) else FINISHED

    def _draw(self, seed: int, index: int) -> Tensor:
        if seed not in self.draws:
            self.draws[seed] = _Draws(seed, self.branch.image_shape)
        return self.draws[seed][index]


class _Draws:
    """All draws of one seed's noise, by their number; each is (1, C, H, W)."""

    def __init__(self, seed: int, shape: tuple[int, int, int]) -> None:
        self._noise, self._drawn = ImageNoise([seed], shape), list[Tensor]()

    def __getitem__(self, index: int) -> Tensor:
        while len(self._drawn) <= index:
            self._drawn.append(self._noise.draw())
        return self._drawn[index]


class _StateThenNoise:
    """Noise for one step: its first draw, in the place of x_T, is the state."""

    def __init__(self, x: Tensor, fresh: Callable[[], Tensor]) -> None:
        self._x: Tensor | None = x
        self._fresh = fresh

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the state, then the noise that the step adds."""
        state, self._x = self._x, None
        return (self._fresh() if state is None else state).to(device)


def _prediction(step: Step) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor]:
    return step.eps_pred, step.eps_cond, step.eps_uncond, step.x0_raw, step.x0_pred


def _trajectory(branch: SavedBranch, player: _Player, steps: list[Step]) -> Trajectory:
    """Return the steps as a recording; what was changed on the way stands in its ``interventions``."""
    settings = branch.changes[0].settings
    scales = {change.settings.guidance for change in branch.changes.values()}
    label = settings.label if isinstance(settings.label, int) and settings.label < player.network.null_label else -1

    def stacked(name: str) -> np.ndarray:
        return torch.stack([getattr(step, name) for step in steps], dim=1).numpy()

    return Trajectory(
        schedule=player.schedule,
        timesteps=np.array(branch.timesteps, dtype=np.int64),
        x_t=stacked("x_t"),
        eps_pred=stacked("eps_pred"),
        x0_pred=stacked("x0_pred"),
        x0=player.finished.numpy(),
        labels=np.array([label], dtype=np.int64),
        seeds=np.array([branch.seed], dtype=np.int64),
        sampler=settings.method,
        variance=settings.variance if settings.method == "ddpm" else "",
        eta=settings.eta if settings.method == "ddim" else 0.0,
        guidance_scale=settings.guidance if len(scales) == 1 else float("nan"),
        weights_sha256=branch.weights_sha256,
        interventions=", ".join(_described(branch)),
        prediction_type=player.config.training.prediction_type,
    )


def _described(branch: SavedBranch) -> Iterator[str]:
    """Yield what was changed, as ``label 8@599``: what, and the timestep from which on."""
    before: Change | None = None
    if branch.drawing is not None:
        yield f"from-drawing@{branch.timesteps[0]}"
    for k, change in sorted(branch.changes.items()):
        t, now = branch.timesteps[k], change.settings
        for name in ("label", "guidance", "told", "method", "eta", "variance"):
            value = getattr(now, name)
            old = None if before is None else getattr(before.settings, name)
            unusual = name == "told" and value is not None if before is None else str(value) != str(old)
            if unusual:
                yield f"{name} {_short(value)}@{t}"
        if change.hold is not (None if before is None else before.hold):
            yield f"hold{' off' if change.hold is None else ''}@{t}"
        yield from (f"stroke@{t}" for _ in change.strokes)
        before = change
    yield from (f"seed {seed}@{branch.timesteps[first]}" for seed, first in branch.noises[1:])


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return "+".join(f"{weight:g}x{label}" for label, weight in enumerate(value.tolist()) if weight)
    if isinstance(value, tuple):
        return f"{value[0]} {value[1]}"
    return "off" if value is None else str(value)
