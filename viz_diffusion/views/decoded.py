"""One generation of latents: x_t and ε̂ as one channel each, and the pictures that the VAE made of x̂_0."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.plots import theme
from viz_diffusion.plots.class_names import fitted_title, has_letters
from viz_diffusion.plots.mosaic import MosaicRow, draw_mosaic
from viz_diffusion.recording.requested_label import requested_prompt
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views.frames import MOST_FRAMES, one_channel, pictures


def draw_decoded(trajectory: Trajectory, sample: int = 0, ax: Axes | None = None) -> Figure:
    """Draw one image of a recording of latents at the steps where x̂_0 was decoded.

    Columns are those steps, by steps left; 0 is the finished image. Rows are x_t (x_0 of the finished image), the
    pictures decoded from x̂_0, and ε̂; the title is the prompt. x_t and ε̂ are latents: of their C channels the sum
    divided by √C is drawn, from -3 to 3, which shows how much noise there is and no picture.

    Parameters
    ----------
    trajectory, sample
        The recording, and the index of its image, 0 .. B-1.
    ax
        Axes to draw into, in their own size and style; by default a whole 16:9 page is drawn.

    Raises
    ------
    VizdiffInputError
        Where nothing was decoded, or more frames than a strip holds.
    VizdiffUsageError
        Where there is no such image.
    """
    if trajectory.decoded is None or trajectory.decoded_steps is None or not len(trajectory.decoded_steps):
        raise VizdiffInputError(
            "nothing of this recording was decoded; ask for pictures: recording.trajectory(decode_at=[50, 20, 0])"
        )
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffUsageError(f"`sample` must lie in 0..{trajectory.num_images - 1} here, found {sample}")
    steps = trajectory.decoded_steps.tolist()
    if len(steps) > MOST_FRAMES:
        raise VizdiffInputError(f"there is room for {MOST_FRAMES} decoded frames, found {len(steps)}; decode fewer")
    count = trajectory.num_steps
    states = [trajectory.x0[sample] if step == count else trajectory.x_t[sample, step] for step in steps]
    noise = [None if step == count else one_channel(trajectory.eps_pred[sample, step]) for step in steps]
    rows = [
        MosaicRow(theme.X_T, [one_channel(state) for state in states], theme.NOISE_MAP, theme.NOISE_LIMIT),
        MosaicRow(f"{theme.X0_PRED} decoded", list(pictures(trajectory.decoded[sample]))),
        *([MosaicRow(theme.EPS_PRED, noise, theme.NOISE_MAP, theme.NOISE_LIMIT)] if steps != [count] else []),
    ]
    columns, prompt = [str(count - step) for step in steps], requested_prompt(trajectory, sample)
    title = fitted_title("“{prompt}”", prompt) if prompt and has_letters(prompt) else ""
    if ax is not None:
        ax.set_title(title, wrap=True)
        return draw_mosaic(ax, rows, columns, "steps left")
    with theme.use_theme():
        figure = theme.new_figure(title)
        height = 0.74 if title else 0.82
        return draw_mosaic(figure.add_axes((0.12, 0.12, 0.85, height)), rows, columns, "steps left")
