"""The samples that ``vizdiff evaluate`` measures, where they are those of a store."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

if TYPE_CHECKING:
    import torch

    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.cli.options import SamplerOptions
    from viz_diffusion.recording.many.samples import SampleStore

MOST = 10_000
"""Samples of a store that are evaluated, at most: as many as there are test digits."""


@dataclass(frozen=True, eq=False)
class StoredSamples:
    """A store of samples of the run that is evaluated."""

    store: SampleStore
    config: SamplerConfig
    """How they were sampled."""

    def facts(self) -> dict[str, Any]:
        """Return what the result says of the store."""
        return {"store": self.store.name, "seeds": self.store.plan["seeds"], "root_sha256": self.store.root_hash}

    def first(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first (count, C, H, W) float32 images and their (count,) labels, read chunk by chunk."""
        import torch

        parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        for batch in self.store.batches():
            parts.append(batch)
            if sum(len(labels) for _, labels in parts) >= count:
                break
        images, labels = zip(*parts, strict=True)
        return torch.cat(images)[:count], torch.cat(labels)[:count]


def open_samples(where: str, loaded: LoadedRun, sampling: SamplerOptions, seed: int) -> StoredSamples:
    """Open a store of samples.

    Raises
    ------
    VizdiffUsageError
        Where options of sampling are given, which the store has already.
    VizdiffInputError
        Where it holds no samples of this run, or samples of other labels: those of prompts are numbers of prompts.
    """
    from viz_diffusion.recording.many.samples import SampleStore

    given = [*sampling.given, *(["seed"] if seed else [])]
    if given:
        raise VizdiffUsageError(f"`{given[0]}` goes with new samples, not with those of {where}; leave it out")
    store = SampleStore(where)
    made = str(store.plan["weights_sha256"])
    if made != loaded.weights_sha256:
        raise VizdiffInputError(
            f"{where} was sampled with weights {made[:8]}, not {loaded.weights_sha256[:8]}; give the run it came from "
            "as --run"
        )
    if store.plan["class_names"] != (None if (own := loaded.run.config.class_names) is None else list(own)):
        raise VizdiffInputError(
            f"{where} holds samples of other labels than the run has, such as prompts, and only samples of the run's "
            "own labels are evaluated; sample without --prompt"
        )
    names = [field.name for field in fields(SamplerConfig) if field.name in store.plan]
    return StoredSamples(store, SamplerConfig(**{name: store.plan[name] for name in names}))
