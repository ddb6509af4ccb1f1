"""``vizdiff intervene``: record a generation twice from one noise, plain and with changed inputs of the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.class_choice import check_choice, choose_label, only_prompt
from viz_diffusion.cli.compared_generations import classify_finished, draw_comparison, named_changes
from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.intervention_options import INTERVENTION, InterventionOptions
from viz_diffusion.cli.loading import LoadedRun, load_run
from viz_diffusion.cli.option_groups import OUTPUT, takes
from viz_diffusion.cli.options import (
    DEFAULT_SEED,
    PICTURE_SAMPLER,
    DeviceOption,
    DigitOption,
    ForceOption,
    FramesOption,
    JsonOption,
    LabelOption,
    LangOption,
    PromptOption,
    QuietOption,
    RecordedCountOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    check_at_least,
    check_seed,
    sampler_options,
)
from viz_diffusion.cli.outputs import RECORDING, Output, default_out, images_mark, sampling_marks
from viz_diffusion.cli.picture_options import FilmSizeOption, check_size, writes_pictures
from viz_diffusion.cli.record import STORAGE, StorageOptions, read_store, record
from viz_diffusion.cli.run_recording import Recorded, RecordingRequest, record_and_draw
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_folder

if TYPE_CHECKING:
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Change label or timestep midway, and compare.\n\n"
    "Records a generation (trajectory.zarr), and from the same noise a second one in which the network gets another "
    "label or timestep, or no guidance (changed.zarr). A figure and a film compare the two.\n\n"
    "Example: vizdiff intervene --digit 3 --switch 8@500"
)
MOST_COMPARED = 11
"""Most frames of a comparison."""
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write.",
        show_default="reports/intervene, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@writes_pictures
@takes(sampling=sampler_options(PICTURE_SAMPLER), intervention=INTERVENTION, storage=STORAGE)
def run_command(
    *,
    digit: DigitOption = None,
    label: LabelOption = None,
    prompt: PromptOption = None,
    run: RunOption = None,
    count: RecordedCountOption = 1,
    sampling: SamplerOptions,
    seed: SeedOption = DEFAULT_SEED,
    frames: FramesOption = None,
    intervention: InterventionOptions,
    storage: StorageOptions,
    size: FilmSizeOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record twice, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    check_choice(digit, label, prompt)
    asked = only_prompt(prompt, "intervene", "--switch takes the other one: --switch 'a thin two@500'")
    check_at_least("--count", count, 1)
    config = sampling.config()
    check_seed(seed, count)
    check_size(size)
    if not intervention:
        raise VizdiffUsageError("nothing is changed; give --switch, --clock, --drop-label or --guide-within")
    intervention.check(config)
    from viz_diffusion.views.frames import choose_frames

    choose_frames(config.steps or 1000, frames, most=MOST_COMPARED)
    if out is None:
        name = "_".join(["intervene", *intervention.marks(), *images_mark(count)])
        out = default_out(name, "", digit, lang, asked or label, seed=seed, sampling=config, run=run)
    place_folder(out)
    loaded = load_run(run, device, terminal, prompts=intervention.prompts(asked))
    kind = loaded.run.config
    texts = terminal.texts.for_classes(kind.class_names).for_space(kind.space).for_prompts(kind.prompts)
    chosen = choose_label(kind, digit, label)
    about = kind.prompts[0] if kind.prompts else chosen
    shown = {"label": about, "seed": seed, "count": count, "sampling": "_".join(sampling_marks(config))}
    others = (*RECORDING, "changed.zarr", "compare.*")
    Output(out / "trajectory.json", "intervene", force, lang, others, shares=True).claim(
        terminal, **shown, changes=" ".join(intervention.marks()), weights=loaded.weights_sha256[:8]
    )
    intervention = intervention.for_run(kind)
    request = RecordingRequest(chosen, seed, count, config, frames, storage, size=size)
    plain = record_and_draw(loaded, request, texts, out, terminal)
    compared = _record_changed(loaded, request, intervention, plain, texts, out, terminal)
    result = {**plain.facts, "seconds": round(terminal.seconds, 1), "compare": compared}
    write_json(out / "trajectory.json", result)
    files = f"compare.png {show_size(out / 'compare.png')}"
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    terminal.result(result)


def _record_changed(
    loaded: LoadedRun,
    request: RecordingRequest,
    intervention: InterventionOptions,
    plain: Recorded,
    texts: Texts,
    out: Path,
    terminal: Terminal,
) -> dict[str, Any]:
    """Record the generations again with the intervention, and draw both; return the values for the JSON file."""
    store = out / "changed.zarr"
    network, _ = loaded.run.config.sampled(loaded.model, request.config.sampler)
    denoiser = intervention.wrap(network, loaded.run.config.num_train_timesteps)
    terminal.say("Changes", named_changes(denoiser.interventions, texts))
    changed = record(
        loaded,
        request.digit,
        request.seed,
        request.count,
        request.config,
        terminal,
        denoiser=denoiser,
        store=store,
        storage=request.storage,
    )
    facts = draw_comparison(plain.first, changed, denoiser, request.frames, texts, out, terminal, request.size)
    finished = {"plain": plain.finished, "changed": read_store(store, request.count)[1]}
    return facts | classify_finished(finished, request.digit, intervention, loaded.run, terminal)
