"""The live lab in a browser: waiting for it, reading its state and its pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

SLOW = 60_000
"""Milliseconds that the network may take on a busy machine."""


def settled(page: Any) -> None:
    """Wait until nothing is computed any more and the labels are drawn."""
    page.wait_for_timeout(50)
    page.evaluate(
        """() => new Promise((done) => {
            const working = () => ["link", "fork", "vote", "file"].some(jobs.isRunning);
            const busy = () => lab.isPlaying() || working() || !view.isComplete();
            const look = () => busy() ? setTimeout(look, 30) : done();
            look();
        })"""
    )


def state(page: Any) -> dict[str, Any]:
    """Return the state that is shown: t, x, x0 and the settings."""
    found = page.evaluate(
        "(({t, x, x0, settings}) => ({t, x: [...x], x0: [...x0], settings}))(lab.state())",
    )
    return {**found, "x": np.array(found["x"]), "x0": np.array(found["x0"])}


def thumbnail(page: Any, name: str) -> np.ndarray:
    pixels = page.evaluate(
        """(id) => {
            const copy = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true });
            copy.drawImage(byId(id), 0, 0);
            return [...copy.getImageData(0, 0, 28, 28).data];
        }""",
        name,
    )
    return np.array(pixels, dtype=int).reshape(28, 28, 4)[..., 0]
