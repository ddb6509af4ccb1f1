"""From what was measured of latent diffusion to its figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.lessons.latent.comparison import is_of_bundled
from viz_diffusion.lessons.latent.figures import (
    Bar,
    draw_channel_contents,
    draw_latent_space,
    draw_latent_walk,
)
from viz_diffusion.lessons.latent.joint_run import joint_sizes
from viz_diffusion.lessons.latent.latent_map import LIMIT, SHADES, LatentMap
from viz_diffusion.lessons.latent.latent_study import LatentStudy, facts, image_products, share
from viz_diffusion.lessons.latent.map_figure import MapDrawing, draw_latent_map
from viz_diffusion.lessons.latent.parts_figure import PartSizes, draw_stable_diffusion
from viz_diffusion.lessons.latent.quality_figure import draw_latent_quality
from viz_diffusion.plots import theme
from viz_diffusion.plots.lazy_figures import Figures

COLOURS = {"latent": theme.PURPLE, "pixel": theme.ORANGE, "short": theme.MUTED}


def draw(data: LatentStudy) -> Figures:
    """Draw the digits' latents, walks, the map, channels, cost and quality, and the parts of Stable Diffusion."""
    made, channels, walks = data.reconstruction, data.channels, data.walks
    shares = [channels.whole_right, *channels.without_right]
    limit = float(np.ceil(20 * np.abs(channels.change).max()) / 20)
    drawn = (
        (walks.latent_frames, walks.pixel_frames),
        (walks.latent_read, walks.pixel_read),
        (walks.latent_probability, walks.pixel_probability),
    )
    example = 5 % len(made.images)
    plane = data.plane
    first = Figures(
        latent_space=lambda: draw_latent_space(made.images, made.latents, made.decoded),
        latent_walk=lambda: draw_latent_walk(*drawn, _middles(data)),
    )
    mapped = Figures() if plane is None else Figures(latent_map=lambda: draw_latent_map(_map(plane)))
    others = Figures(
        channel_contents=lambda: draw_channel_contents(
            channels.whole, channels.without, [f"{hits.mean():.1%}" for hits in shares], channels.change, limit
        ),
        latent_quality=lambda: draw_latent_quality(_cost(data), *_quality(data)),
        stable_diffusion=lambda: draw_stable_diffusion(_sizes(data), made.latents[example], made.decoded[example]),
    )
    return first | mapped | others


def _sizes(data: LatentStudy) -> list[PartSizes]:
    """Return the sizes of the network that was measured and, where it comes with the package, of that with prompts."""
    cost, joint = data.cost, joint_sizes()
    image = (1, *data.reconstruction.images.shape[1:])
    rows = [
        PartSizes(
            "labels" if is_of_bundled(data) else "measured",
            None,
            cost.latent_parameters,
            cost.encoder_parameters + cost.decoder_parameters,
            data.reconstruction.latents.shape[1:],
            image,
        )
    ]
    if joint is None:
        return rows
    return [*rows, PartSizes("prompts", joint.text_encoder, joint.denoiser, joint.autoencoder, joint.latent, image)]


def _map(plane: LatentMap) -> MapDrawing:
    ends = plane.inside[-1]
    return MapDrawing(
        LIMIT,
        plane.tiles / (SHADES - 1),
        plane.probability,
        plane.points,
        plane.point_labels,
        plane.paths,
        plane.digit,
        states=plane.paths.shape[2] - 1 - plane.steps_left,
        frames=plane.frames,
        steps_left=plane.steps_left.tolist(),
        inside=[f"{hits.mean():.0%}" for hits in plane.inside],
        ends=[f"{hits.mean():.0%}" for hits in ends],
        count=ends.shape[1],
    )


def _middles(data: LatentStudy) -> list[Bar]:
    walks = data.walks
    hits = {"latent": walks.latent_sure, "pixel": walks.pixel_sure, "end": walks.end_sure}
    return [_share_bar(name, one) for name, one in hits.items()]


def _share_bar(name: str, hits: NDArray[np.bool_]) -> Bar:
    found = share(hits)
    return Bar(name, found.value, *found.interval, f"{found.value:.1%}", COLOURS.get(name, theme.INK))


def _cost(data: LatentStudy) -> list[tuple[str, list[Bar]]]:
    """Return what an image costs in latents, and in pixels, as shares of the latter."""
    cost, found = data.cost, facts(data).cost
    latent, pixel = image_products(cost)
    autoencoder = cost.encoder_parameters + cost.decoder_parameters
    return [
        (
            "time",
            [
                _bar("latent", found.time_ratio, f"{found.latent_ms:.1f}"),
                _bar("pixel", 1.0, f"{found.pixel_ms:.1f}"),
            ],
        ),
        (
            "products",
            [_bar("latent", latent / pixel, f"{latent / 1e6:,.0f}"), _bar("pixel", 1.0, f"{pixel / 1e6:,.0f}")],
        ),
        (
            "parameters",
            [
                _bar(
                    "latent",
                    (cost.latent_parameters + autoencoder) / cost.pixel_parameters,
                    f"{cost.latent_parameters:,} + {autoencoder:,}",
                ),
                _bar("pixel", 1.0, f"{cost.pixel_parameters:,}"),
            ],
        ),
    ]


def _bar(name: str, value: float, text: str) -> Bar:
    return Bar(name, value, value, value, text, COLOURS[name])


def _quality(data: LatentStudy) -> tuple[list[Bar], list[Bar]]:
    """Return accuracy and Fréchet distance, in multiples of that of real digits, of each network."""
    found, accuracy, distance = facts(data), [], []
    for name, one in (("latent", found.latent), ("pixel", found.pixel), ("short", found.short)):
        if one is None:
            continue
        ratio, half = one.frechet_ratio, one.frechet_ratio_half
        accuracy.append(Bar(name, one.accuracy, *one.accuracy_interval, f"{one.accuracy:.1%}", COLOURS[name]))
        distance.append(Bar(name, ratio, ratio - half, ratio + half, f"{ratio:.1f}", COLOURS[name]))
    return accuracy, distance
