"""``vizdiff lesson decision --trajectories``: when the digit is settled in every generation of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal, show_path, table
from viz_diffusion.cli.evaluation_text import how_sampled
from viz_diffusion.cli.loading import LoadedRun, load_run
from viz_diffusion.cli.outputs import Output, picture_names
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import write_json

if TYPE_CHECKING:
    from viz_diffusion.evaluation.intervals import Share
    from viz_diffusion.lessons.decision.figures import Quartiles
    from viz_diffusion.lessons.decision.settling_counts import Reader, SettlingCounts
    from viz_diffusion.recording.many.trajectories import TrajectoryStore
    from viz_diffusion.study.narrative import Drawing
    from viz_diffusion.text.catalogue import Texts

FIGURE, LESSON = "settled_store", "decision"


@dataclass(frozen=True)
class LessonOfStore:
    """A store of trajectories to measure, and where the results go."""

    where: str
    """A path or a URL."""
    run: str | None
    data_dir: Path | None
    device: str
    out: Path
    force: bool


def require_decision(lesson: str, given: Sequence[str]) -> None:
    """Refuse other lessons, and options that choose a generation: the store holds all of them."""
    if lesson != LESSON:
        raise VizdiffUsageError(f"`trajectories` goes with lesson {LESSON}, not with {lesson}; leave it out")
    if given:
        raise VizdiffUsageError(f"`{given[0]}` contradicts `trajectories`, which are recorded already; leave it out")


def measure_store(request: LessonOfStore, terminal: Terminal) -> None:
    """Classify every predicted x_0, count, draw, write, say."""
    from viz_diffusion.lessons.decision.settling_counts import count_settling
    from viz_diffusion.recording.many.trajectories import TrajectoryStore
    from viz_diffusion.study.narrative import captions_and_details, save_drawing

    store = TrajectoryStore(request.where)
    loaded = load_run(request.run, request.device, terminal, request.data_dir)
    _check_weights(store, loaded)
    reader = _reader(loaded)
    texts = terminal.texts.for_classes(loaded.run.config.class_names)
    path = request.out / f"{LESSON}_store.json"
    Output(path, "lesson", request.force, texts.lang, picture_names([FIGURE]), shares=True).claim(
        terminal, store=store.root_hash or store.name, weights=loaded.weights_sha256[:8]
    )
    text = terminal.text("classifying_trajectories", count=len(store))
    with terminal.progress("Measuring", text, len(store)) as update:
        counted = count_settling(
            store, reader, terminal.translated(lambda done, total, _: update(done, total, text), text)
        )
    generations = _described(store, texts)
    values, rows = _facts(counted), _rows(counted, loaded, texts)
    words = values | {"generations": generations, "median_note": _median_note(counted, texts)}
    answer = _answer(counted, words, texts)
    drawing = _drawing(counted, generations, words, texts)
    terminal.say("Drawing", drawing.name)
    save_drawing(drawing, request.out)
    result = {
        "lesson": LESSON,
        "out": str(request.out),
        "store": store.name,
        "root_sha256": store.root_hash,
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "generations": generations,
        "answers": [answer],
        **captions_and_details([drawing]),
        **values,
        "by_class": [_facts(counted.of(label)) | {"class": name} for label, name in _classes(counted, loaded)],
        "seconds": round(terminal.seconds, 1),
    }
    write_json(path, result)
    terminal.say(answer["verdict"], f"{answer['question']} {answer['rest']}")
    terminal.say("Table", texts("store_lesson.table", generations=generations))
    for line in table(*rows):
        terminal.say("", line)
    files = terminal.text("pictures_and_json", names=drawing.name, json=path.stem)
    terminal.tell("Done", "done_folder", path=show_path(request.out), files=files, seconds=terminal.seconds)
    terminal.result(result)


def _check_weights(store: TrajectoryStore, loaded: LoadedRun) -> None:
    """Refuse a store of another run: its data say which classifier reads the images."""
    made = str(store.fact("weights_sha256") or "")
    if made != loaded.weights_sha256:
        raise VizdiffInputError(
            f"{store.name} was recorded with weights {made[:8] or 'not known'}, not {loaded.weights_sha256[:8]}; give "
            "the run it came from as --run"
        )


def _reader(loaded: LoadedRun) -> Reader:
    """Return the classifier of a run's data, calibrated where that is known."""
    from viz_diffusion.evaluation.calibration import Calibration
    from viz_diffusion.evaluation.classifier import DigitClassifier

    config = loaded.run.config
    if config.dataset == "mnist":
        return partial(DigitClassifier.bundled()[0].probabilities, temperature=Calibration.bundled().temperature)
    found = DigitClassifier.find(config.dataset, config.data_set(config.load_digits("train")).sha256)
    if found is None:
        raise VizdiffInputError(
            f"there is no classifier of the data of {loaded.run.name_or_path}; vizdiff train-classifier trains one"
        )
    return found[0].probabilities


def _facts(counted: SettlingCounts) -> dict[str, Any]:
    """Return what was counted, as JSON values; shares with their 95% intervals, the last one of the finished image."""
    from viz_diffusion.lessons.decision.ideal_paths import SURE

    share, quartiles, shares = counted.settled, counted.quartiles(), counted.settled_by()
    return {
        "count": counted.count,
        "sure": SURE,
        "late": counted.late,
        "settled": share.hits,
        "settled_share": share.value,
        "settled_interval_95": share.interval,
        "from_start": counted.from_start,
        "at_the_end": counted.at_the_end,
        "never": counted.never,
        **{f"t_{field}": _of(quartiles, field) for field in ("median", "low", "high", "lower", "upper")},
        "timesteps": counted.timesteps.tolist(),
        "settled_by_t": [one.value for one in shares],
        "settled_by_t_interval_95": [one.interval for one in shares],
    }


def _of(quartiles: Quartiles | None, field: str) -> float | None:
    return None if quartiles is None else float(getattr(quartiles, field))


def _described(store: TrajectoryStore, texts: Texts) -> str:
    """Return which generations a store holds, in a few words: how many, how sampled, with which label."""
    config = SamplerConfig(
        **{field.name: known for field in fields(SamplerConfig) if (known := store.fact(field.name)) not in (None, "")}
        | {"steps": store.num_steps}
    )
    prompts = store.fact("prompts") or ()
    labels = sorted({int(label) for part in store.arrays("labels") for label in part})
    if config.guidance_scale == 0:
        label = texts("store_lesson.no_label")
    elif len(labels) > 1:
        label = texts("store_lesson.several_labels", count=len(labels))
    elif prompts:
        label = texts("store_lesson.prompt", prompt=prompts[labels[0]])
    else:
        label = texts("store_lesson.label", label=texts.label(labels[0]))
    how = how_sampled(config, lambda key, **values: texts(f"terminal.{key}", **values))
    return texts("store_lesson.generations", count=len(store), how=how, label=label)


def _median_note(counted: SettlingCounts, texts: Texts) -> str:
    """Return a sentence on the median; empty where few are settled."""
    found = counted.quartiles()
    if found is None:
        return ""
    names = {field: round(getattr(found, field)) for field in ("median", "low", "high", "lower", "upper")}
    return texts("store_lesson.median", **names)


def _answer(counted: SettlingCounts, words: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """Return the answer to whether generations settle on the way, by the interval of the share that do."""
    from viz_diffusion.lessons.decision.lesson import LEAST

    low, high = counted.settled.interval
    outcome = "found" if low > LEAST else "not_found" if high < LEAST else "open"
    values = words | {"low": low, "high": high, "least": LEAST}
    verdict, rest = texts[f"report.claim_{outcome}"], texts(f"store_lesson.settles_{outcome}", **values)
    question = texts["store_lesson.settles"]
    holds = {"found": True, "not_found": False, "open": None}[outcome]
    return {"question": question, "verdict": verdict, "holds": holds, "rest": rest}


def _drawing(counted: SettlingCounts, generations: str, words: dict[str, Any], texts: Texts) -> Drawing:
    """Return the figure with its words."""
    import numpy as np

    from viz_diffusion.lessons.decision.figures import draw_settled_share
    from viz_diffusion.plots.lazy_figures import Figures
    from viz_diffusion.study.narrative import drawings
    from viz_diffusion.study.wording import wording

    at = np.append(counted.timesteps, 0)[: None if counted.timesteps[-1] else -1]  # the finished image stands at t = 0
    shares = counted.settled_by()[: len(at)]
    low, high = np.array([share.interval for share in shares]).T
    estimate = (np.array([share.value for share in shares]), low, high)
    given = (at, estimate, counted.quartiles(), counted.num_train_timesteps, words["sure"], generations)
    figures = Figures(settled_store=lambda: draw_settled_share(*given))
    return drawings(figures, wording(words, texts), texts)[0]


def _classes(counted: SettlingCounts, loaded: LoadedRun) -> list[tuple[int, str]]:
    """Return the classes of finished images that there are any of, with their names."""
    names = loaded.run.config.class_names
    present = [label for label in range(len(counted.counts)) if counted.of(label).count]
    return [(label, names[label] if names else str(label)) for label in present]


def _rows(counted: SettlingCounts, loaded: LoadedRun, texts: Texts) -> tuple[list[str], list[list[str]]]:
    """Return the table by the class of the finished image: generations, those settled on the way, their median t."""
    header = [texts[f"store_lesson.column_{name}"] for name in ("class", "count", "settled", "median")]
    return header, [[name, *_cells(counted.of(label), texts)] for label, name in _classes(counted, loaded)]


def _cells(counted: SettlingCounts, texts: Texts) -> list[str]:
    share: Share = counted.settled
    low, high = share.interval
    found, median = counted.quartiles(), "–"
    if found is not None:
        median = texts("store_lesson.median_cell", median=found.median, low=found.low, high=found.high)
    return [f"{counted.count:,}", texts("terminal.share_cell", value=share.value, low=low, high=high), median]
