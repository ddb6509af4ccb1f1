"""A folder of small pictures in colour: four kinds of shapes, one folder each, the same in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("circle", "cross", "square", "triangle")
COLOURS = {"circle": (230, 60, 50), "cross": (60, 170, 80), "square": (60, 100, 230), "triangle": (240, 190, 40)}


def draw_shape(kind: str, rng: np.random.Generator, size: int = 32) -> Image.Image:
    """Draw one shape on a dark ground: its place, size and shade vary."""
    image = Image.new("RGB", (4 * size, 4 * size), (24, 22, 34))
    draw = ImageDraw.Draw(image)
    radius = 4 * size * rng.uniform(0.22, 0.36)
    x, y = 4 * size * rng.uniform(0.42, 0.58, 2)
    colour = tuple(int(np.clip(level * rng.uniform(0.75, 1.1), 0, 255)) for level in COLOURS[kind])
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == "circle":
        draw.ellipse(box, colour)
    elif kind == "square":
        draw.rectangle(box, colour)
    elif kind == "triangle":
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], colour)
    else:
        width = int(radius * 0.6)
        draw.line((x - radius, y, x + radius, y), colour, width)
        draw.line((x, y - radius, x, y + radius), colour, width)
    return image.resize((size, size), Image.Resampling.BOX)


def write_shapes(folder: Path, each: int = 50, size: int = 32, names: tuple[str, ...] = KINDS) -> Path:
    """Write ``each`` PNG files of every kind into ``folder``; ``names`` are those of the class folders."""
    rng = np.random.default_rng(14)
    for kind, name in zip(KINDS, names, strict=False):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            draw_shape(kind, rng, size).save(folder / name / f"{index:03d}.png")
    return folder


if __name__ == "__main__":
    import sys

    write_shapes(Path(sys.argv[1]))
