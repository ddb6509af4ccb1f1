"""``vizdiff sample`` into a store of many images, and what is said of it once it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.many import Filled, fill_store, network_facts
from viz_diffusion.cli.outputs import Output, sampling_marks
from viz_diffusion.files.output_places import place_file

if TYPE_CHECKING:
    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.cli.many_options import ManyOptions
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.evaluation.intervals import Share
    from viz_diffusion.recording.many.images import Images


@dataclass(frozen=True, eq=False)
class ManySamples:
    """Many images that are to be sampled into a store."""

    where: str
    """A folder that ends in ``.zarr``, or a URL."""
    images: Images
    config: SamplerConfig
    many: ManyOptions
    force: bool


def check_export(asked: ManySamples, loaded: LoadedRun, terminal: Terminal) -> None:
    """Refuse a file for evaluators that cannot be written, before anything is sampled."""
    from viz_diffusion.recording.many.evaluator_files import ENDINGS

    export = asked.many.export
    if export is None:
        return
    place_file(export, *ENDINGS, option="export")
    marks = "_".join(sampling_marks(asked.config))
    output = Output(export, "sample", asked.force or asked.many.resume)
    output.claim(terminal, store=asked.where, sampling=marks, weights=loaded.weights_sha256[:8], **asked.images.facts())


def sample_into_store(loaded: LoadedRun, asked: ManySamples, terminal: Terminal) -> Filled:
    """Sample this worker's part; where the store is complete then, write the file for evaluators."""
    from viz_diffusion.diffusion.sampling import BATCH_SIZE
    from viz_diffusion.recording.many.evaluator_files import write_evaluator_file
    from viz_diffusion.recording.many.samples import KIND, SampleMaker, SampleStore

    run = loaded.run.config
    network, schedule = run.sampled(loaded.model, asked.config.sampler)
    batch_size = asked.many.batch_size or BATCH_SIZE
    maker = SampleMaker(network, schedule, asked.config, asked.images, run.image_shape, batch_size)
    facts: dict[str, Any] = {
        "kind": KIND,
        **asked.config.facts(),
        "steps": maker.steps,
        **network_facts(loaded),
        "batch_size": batch_size,
        "image_shape": list(run.image_shape),
        "class_names": None if run.class_names is None else list(run.class_names),
    }
    filled = fill_store(asked.where, maker, facts, asked.many, asked.force, terminal)
    if filled.is_complete and asked.many.export is not None:
        write_evaluator_file(SampleStore(asked.where), asked.many.export)
        terminal.say("Written", f"{show_path(asked.many.export)} ({show_size(asked.many.export)})")
    return filled


def count_accurate(where: str, judge: Any, digit_of: Any) -> tuple[Share, str]:
    """Return how many samples of a store a classifier reads as their labels, read chunk by chunk; and its hash.

    ``digit_of`` turns (b,) labels into the digits that they mean.
    """
    from viz_diffusion.evaluation.classifier import classifier_accuracy
    from viz_diffusion.evaluation.intervals import Share
    from viz_diffusion.recording.many.samples import SampleStore

    hits = count = 0
    for images, labels in SampleStore(where).batches():
        share, classifier = classifier_accuracy(images, digit_of(labels), judge)
        hits, count = hits + share.hits, count + share.count
    return Share(hits, count), classifier
