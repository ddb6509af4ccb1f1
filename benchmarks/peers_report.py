"""What the comparison found, as a table, as numbers and as a picture. Knows nothing about how it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peers_arms import ARMS

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS
from viz_diffusion.files import write_bytes, write_json
from viz_diffusion.plots import saving, theme

COLOURS = {"ours": theme.PURPLE, "course": theme.ORANGE, "guidance": theme.INK, "guidance-fast": theme.MUTED}
SHORT = {"ours": "vizdiff", "course": "diffusers", "guidance": "denoising_…_pytorch", "guidance-fast": "same at 1e-3"}
SAMPLERS = {
    "ours": "ours",
    "course": "diffusers' DDIMScheduler",
    "guidance": "its own, η = 1",
    "guidance-fast": "its own, η = 1",
}
LEFT, RIGHT = 330, 2250
Found = list[dict[str, Any]]


def write_report(rate: dict[str, Any], judged: dict[str, Any], folder: Path) -> None:
    """Write PEERS.md and PEERS.json to ``folder``, and the picture beside README's."""
    found = sorted(judged.values(), key=lambda one: (list(ARMS).index(one["arm"]), one["way"], one["minutes"]))
    if not found:
        raise VizdiffInputError("nothing is judged yet; run: python benchmarks/peers.py judge")
    for one in found:
        speed = rate["chosen"][one["arm"]]["images_per_second"]
        if abs(one["images"] - 60 * one["minutes"] * speed) > one["images"] / one["step"]:
            raise VizdiffInputError(
                f"{one['arm']} at {one['minutes']:g} minutes was trained by another rate; train anew"
            )
    write_json(folder / "PEERS.json", {"rate": rate, "judged": found})
    write_bytes(folder / "PEERS.md", table(rate, found).encode())
    description = f"Accuracy and FID-MNIST over minutes of training, {found[0]['count']} samples each"
    saving.save_figure(draw_curve(found), folder.parent / "images" / "peers.png", description=description)


def series(found: Found) -> dict[tuple[str, str], Found]:
    """Return the results of each arm and way, by rising minutes."""
    lines: dict[tuple[str, str], Found] = {}
    for one in sorted(found, key=lambda one: one["minutes"]):
        lines.setdefault((one["arm"], one["way"]), []).append(one)
    return lines


def label(one: dict[str, Any]) -> str:
    """Return what a line is called at its end: the arm and, where it is not the plain way, how it is sampled."""
    ways = {"default": "", "clipped": ", clipped", "guided": f", s = {one['guidance_scale']:g}"}
    return SHORT[one["arm"]] + ways[one["way"]]


# -- the table ---------------------------------------------------------------------------------------


def table(rate: dict[str, Any], found: Found) -> str:
    """Return the whole page in Markdown."""
    machine, count = rate["machine"], found[0]["count"]
    where = f"{machine.get('model') or machine['machine']}, {rate['threads']} threads, PyTorch {rate['torch']}"
    lines = [
        "# Ours beside what a user would train instead",
        "",
        f"Written by `python benchmarks/peers.py draw`, whose docstring tells how to measure again. {where}, "
        f"{rate['date']}.",
        "",
        "## Training speed, all arms in turns in one run",
        "",
        f"Images per second, {rate['seconds']:g} s a turn; the faster format was trained with.",
        "",
        "| arm | format | rounds | median | ours is faster by |",
        "|---|---|---|---|---|",
    ]
    ours = rate["chosen"]["ours"]["images_per_second"]
    for name, speeds in rate["rounds"].items():
        arm, precision = name.split()
        median = float(np.median(speeds))
        chosen = " (chosen)" if rate["chosen"][arm]["precision"] == precision else ""
        told = ", ".join(f"{speed:.0f}" for speed in speeds)
        lines.append(f"| {ARMS[arm].title} | {precision}{chosen} | {told} | {median:.1f} | {ours / median:.1f} |")
    lines += [
        "",
        f"## Quality, {count} samples of DDIM in 50 steps",
        "",
        "Minutes are images over that speed. Read as asked: by the bundled classifier, with its 95% Wilson interval. "
        f"FID-MNIST in the classifier's features ({found[0]['classifier_sha256'][:8]}); real training digits with the "
        f"samples' labels in their place reach {found[0]['floor']:.2f} at the same N, the mean of {FLOOR_DRAWS} draws.",
        "",
        "The course itself draws its pictures by DDPM in all 1000 steps, which for 500 takes two hours here.",
        "",
        "| arm | guidance | sampler | minutes | images | read as asked | FID-MNIST |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        low, high = one["interval_95"]
        cells = (
            ARMS[one["arm"]].title,
            f"{one['guidance_scale']:g}",
            SAMPLERS[one["arm"]] + (", use_clipped_model_output" if one["way"] == "clipped" else ""),
            f"{one['minutes']:g}",
            f"{one['images']:,}",
            f"{one['hits'] / one['count']:.1%} ({low:.1%} to {high:.1%})",
            f"{one['frechet']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# -- the picture -------------------------------------------------------------------------------------


def draw_curve(found: Found) -> Figure:
    """Draw the share read as asked (with 95% intervals) above FID-MNIST (log), over minutes (log).

    Solid lines are plain sampling, dashed ones the arm's other way; the dotted line is what real digits reach.
    """
    lines = series(found)
    minutes = sorted({one["minutes"] for one in found})
    with theme.use_theme():
        figure = theme.new_figure()
        shares = {key: [one["hits"] / one["count"] for one in line] for key, line in lines.items()}
        distances = {key: [one["frechet"] for one in line] for key, line in lines.items()}
        upper = _panel(figure, (150, 620), minutes, shares, lines, (0.0, 1.0))
        every = [value for line in distances.values() for value in line] + [found[0]["floor"]]
        limits = (min(every) / 1.3, max(every) * 1.3)
        lower = _panel(figure, (1000, 560), minutes, distances, lines, limits)
        for key, line in lines.items():
            for one in line:
                upper.plot([one["minutes"]] * 2, one["interval_95"], color=COLOURS[key[0]], lw=2, alpha=0.5)
        lower.axhline(found[0]["floor"], color=theme.MUTED, lw=2, ls=(0, (1, 2.5)))
        theme.write(figure, LEFT - 250, 110, "%", 22, ha="left")
        theme.write(figure, LEFT - 250, 950, "FID-MNIST", 20, ha="left")
        theme.write(figure, (LEFT + RIGHT) / 2, 1740, "min", 20)
        return figure


def _panel(
    figure: Figure,
    place: tuple[int, int],
    minutes: list[float],
    values: dict[tuple[str, str], list[float]],
    lines: dict[tuple[str, str], Found],
    limits: tuple[float, float],
) -> Axes:
    """Draw one quantity of every line at ``place`` (top, height) and name the lines at their ends."""
    top, height = place
    share = limits[0] == 0
    axes = theme.add_axes(figure, LEFT, top, RIGHT - LEFT, height)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)  # the hairlines lie behind
    axes.set(xscale="log", yscale="linear" if share else "log", ylim=limits)
    axes.set_xlim(minutes[0] / 1.12, minutes[-1] * 1.04 if len(minutes) > 1 else minutes[0] * 1.12)
    axes.set_xticks(minutes, [f"{mark:g}" for mark in minutes], fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    ticks = (
        [0, 0.25, 0.5, 0.75, 1]
        if share
        else [
            number
            for power in range(-2, 4)
            for number in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
            if limits[0] <= number <= limits[1]
        ]
    )
    names = [f"{100 * tick:.0f}" if share else theme.number(tick) for tick in ticks]
    axes.set_yticks(ticks, names, fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.minorticks_off()
    axes.tick_params(length=0, pad=12)
    axes.grid(color=theme.FAINT, lw=1)
    axes.set_axisbelow(True)
    ends = []
    for key, line in lines.items():
        xs = [one["minutes"] for one in line]
        dash = "-" if key[1] == "default" else (0, (3, 1.5))
        axes.plot(xs, values[key], color=COLOURS[key[0]], lw=4, ls=dash, marker="o", ms=9, clip_on=False)
        low, high = np.log(limits) if not share else np.array(limits)
        last = values[key][-1] if share else float(np.log(values[key][-1]))
        ends.append((top + height * (1 - (last - low) / (high - low)), xs[-1], label(line[-1]), COLOURS[key[0]]))
    _name_ends(figure, axes, ends, top, height)
    return axes


def _name_ends(figure: Figure, axes: Axes, ends: list[tuple[float, float, str, str]], top: int, height: int) -> None:
    """Write each line's name right of the panel, apart from the others, with a hairline to its end."""
    page = theme.page_axes(figure)
    ends = sorted(ends)
    places = theme.spread(np.array([end[0] for end in ends]), 72, top, top + height)
    first, last = np.log(axes.get_xlim())
    for (y, minutes, name, colour), place in zip(ends, places, strict=True):
        x = LEFT + (np.log(minutes) - first) / (last - first) * (RIGHT - LEFT)
        page.plot([x + 22, RIGHT + 20, RIGHT + 70], [y, y if x > RIGHT - 200 else place, place], color=colour, lw=1.2)
        theme.write(figure, RIGHT + 86, place, name, ha="left", va="center", color=colour)
