"""``vizdiff embeddings``: draw the time embedding, the label embedding and the network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.option_groups import OUTPUT
from viz_diffusion.cli.options import ForceOption, JsonOption, LangOption, QuietOption, RunOption
from viz_diffusion.cli.outputs import Output, default_out
from viz_diffusion.cli.picture_options import writes_pictures
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.plots.conditioning import ConditioningMap
    from viz_diffusion.study.narrative import Drawing
    from viz_diffusion.text.catalogue import Texts

HELP = (
    "Draw the time embedding, label embedding and network.\n\n"
    "For digits of MNIST also what the network makes of time and label together (conditioning_map): it comes with the "
    "bundled weights and takes about ten seconds with others.\n\n"
    "Example: vizdiff embeddings"
)
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write.",
        show_default="reports/embeddings, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


PICTURES = ("*_embedding.???", "conditioning_map.???", "model.???")
"""Names of the command's figures."""


@writes_pictures
def run_command(
    run: RunOption = None,
    lang: LangOption = "en",
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    out = default_out("embeddings", "", None, lang, run=run) if out is None else out
    place_folder(out)
    loaded = load_run(run, "cpu", terminal)
    texts = terminal.texts.for_classes(loaded.run.config.class_names).for_space(loaded.run.config.space)
    Output(out / "embeddings.json", "embeddings", force, lang, PICTURES, shares=True).claim(
        terminal, weights=loaded.weights_sha256[:8]
    )
    from viz_diffusion.lessons.clock import lesson as clock
    from viz_diffusion.lessons.facts import facts_by_name
    from viz_diffusion.lessons.label import lesson as label
    from viz_diffusion.lessons.label.conditioning import conditioning_facts
    from viz_diffusion.lessons.label.label_embedding import embedding_facts, measure_embedding
    from viz_diffusion.lessons.network import lesson as network
    from viz_diffusion.plots.embeddings import draw_label_embedding
    from viz_diffusion.plots.lazy_figures import Figures
    from viz_diffusion.study.narrative import captions_and_details

    terminal.tell("Drawing", "embeddings")
    schedule, model = loaded.run.config.noise_schedule, loaded.model
    times = clock.measure_embeddings(model, schedule.num_train_timesteps, schedule.snr_below_one)
    facts, figures = {"time_embedding": facts_by_name(clock.facts(times))}, clock.draw(times)
    if model.config.num_labels >= label.LESSON.least_labels:
        labels = measure_embedding(model)
        facts["label_embedding"] = facts_by_name(embedding_facts(labels))
        figures |= Figures(label_embedding=lambda: draw_label_embedding(labels))
    else:
        terminal.say("Left out", f"label_embedding: {texts['report.reason_labels']}")
    conditioning = _conditioning(loaded, terminal)
    if conditioning is not None:
        facts["conditioning_map"] = facts_by_name(conditioning_facts(conditioning))
        figures |= label.draw_conditioning(conditioning)
    if model.config.text is None:  # the figure shows a label, and not where words enter the network
        layers = network.read_network(model)
        facts["model"], figures = facts_by_name(network.facts(layers)), figures | network.draw(layers)
    drawn = _draw(figures, facts, texts, out)
    result = {
        "out": str(out),
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "seconds": round(terminal.seconds, 1),
        **facts,
        **captions_and_details(drawn),
    }
    write_json(out / "embeddings.json", result)
    terminal.tell("Done", "done_folder", path=show_path(out), files=", ".join(figures), seconds=terminal.seconds)
    terminal.result(result)


def _draw(figures: Mapping[str, Figure], facts: Mapping[str, Any], texts: Texts, out: Path) -> list[Drawing]:
    """Draw and save the figures, each with its own facts."""
    from viz_diffusion.plots.lazy_figures import Figures
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import wording

    drawn = []
    for name in figures:  # drawn where the names of classes are known
        (drawing,) = drawings(Figures(**{name: partial(figures.__getitem__, name)}), wording(facts[name], texts), texts)
        save_drawing(drawing, out)
        drawn.append(drawing)
    return drawn


def _conditioning(loaded: LoadedRun, terminal: Terminal) -> ConditioningMap | None:
    """Return time plus label and the bottleneck, which came with the weights or are measured; None where neither is."""
    from viz_diffusion.lessons.label import lesson as label
    from viz_diffusion.lessons.label.conditioning import SIZES, measure_conditioning
    from viz_diffusion.lessons.precomputed import load_results

    study = load_results([label.LESSON], loaded.weights_sha256).get(label.LabelStudy)
    if study is not None:
        found: ConditioningMap | None = study.conditioning
        return found
    config = loaded.run.config
    if config.dataset != "mnist" or config.space == "latent" or not loaded.model.config.use_time:
        return None
    with terminal.progress("Measuring", "the conditioning", None) as update:
        return measure_conditioning(loaded.model, config.noise_schedule, SIZES[0], update)
