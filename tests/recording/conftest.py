"""A tiny network to record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from viz_diffusion.diffusion.unet import SimpleUNet


@pytest.fixture
def unet(make_unet: Callable) -> SimpleUNet:
    return make_unet()
