"""Access to a report page in a browser: canvas pixels, displayed numbers, the scrubber, accessibility."""

from __future__ import annotations

from typing import Any

import numpy as np

from viz_diffusion.plots.pixels import to_gray8


def pixels(page: Any, name: str) -> np.ndarray:
    """Return a canvas as (28, 28, 3), after checking that every frame pixel is a square of one colour."""
    width, height, uneven, small = page.evaluate(
        """(id) => {
            const shown = document.getElementById(id);
            const { width, height } = shown;
            const copy = Object.assign(document.createElement("canvas"), { width, height });
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(shown, 0, 0);
            const colours = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
            const scale = width / 28;
            const at = (x, y) => colours[y * width + x];
            let uneven = 0;
            for (let y = 0; y < height; y++)
                for (let x = 0; x < width; x++)
                    uneven += at(x, y) !== at(x - (x % scale), y - (y % scale));
            const small = Array.from({ length: 784 }, (_, k) => at((k % 28) * scale, Math.floor(k / 28) * scale));
            return [width, height, uneven, small];
        }""",
        f"ui-{name}",
    )
    assert height == width
    assert width % 28 == 0
    assert uneven == 0
    image = np.array(small, dtype="<u4").view(np.uint8).reshape(28, 28, 4)
    assert (image[..., 3] == 255).all()
    return image[..., :3]


def seek(page: Any, frame: int) -> None:
    """Move the scrubber to a frame."""
    page.evaluate(
        """(frame) => {
            const scrubber = document.getElementById("ui-scrubber");
            scrubber.value = frame;
            scrubber.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        frame,
    )


def reads(page: Any, which: str = "") -> tuple[str, str]:
    """Return the displayed steps left and t; ``which`` is "-2" for the second generation."""
    return page.locator(f"#ui-left{which}").inner_text(), page.locator(f"#ui-t{which}").inner_text()


def grey(frame: np.ndarray) -> np.ndarray:
    """Return the expected RGB pixels of a frame."""
    return np.repeat(to_gray8(frame)[..., None], 3, axis=2)


def violations(page: Any, axe: str) -> list[str]:
    """Return the violations of WCAG 2.2 A and AA that axe-core finds, one line each."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(axe)
    found = page.evaluate(
        """async () => (await axe.run(document, {
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
            resultTypes: ["violations"],
        })).violations.flatMap(({ id, nodes }) =>
            nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`))"""
    )
    return list(found)
