"""Small pipelines of diffusers, saved to folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler
from small_unet import small_unet

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Save a small pipeline and return its folder."""

    def make(pipe: Any) -> Path:
        folder = tmp_path_factory.mktemp("pipeline")
        pipe.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def grey(save: Save) -> Path:
    return save(DDPMPipeline(small_unet(), DDPMScheduler()))


@pytest.fixture(scope="module")
def classes(save: Save) -> Path:
    return save(DDIMPipeline(small_unet(num_class_embeds=5), DDIMScheduler()))
