"""The outline of the lecture: every slide in order, from how many minutes on it is shown, and what decides its title.

A slide's words stand in the catalogue under ``deck.slide.<name>``: ``title``, or one title for each outcome of its
claims (``title_found``, ``title_not_found``, ``title_open``); ``line`` below the picture, begun by the term ``lead``;
``say``, ``point`` and ``ask`` for the speaker's notes; and, for a question before it, ``question`` and ``hint``.
Knows nothing about lessons or files.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTES = (20, 45, 90)
"""The lectures there are: a longer one shows all slides of a shorter one, and more."""
ON_REQUEST = 0
"""In the place of minutes: a slide that only ``--slides`` shows."""


@dataclass(frozen=True)
class PlannedSlide:
    """One message of the lecture, with the question before it where there is one."""

    name: str
    """Small letters, digits and ``_``; names the slide on the command line and in the catalogue."""
    minutes: int = ON_REQUEST
    """One of :data:`MINUTES`: the shortest lecture that shows it; or :data:`ON_REQUEST`."""
    figure: str = ""
    """The lesson figure that it shows; empty for a slide of its own kind."""
    claims: tuple[str, ...] = ()
    """Claims of the figure's lesson: the title says how they came out."""
    question: bool = False
    """Whether a slide with a question comes before it."""
    asked_with: str = ""
    """The lesson figure that the question's slide shows; empty for none."""
    papers: tuple[str, ...] = ()
    """Keys of the papers that it draws on (:data:`~viz_diffusion.deck.references.PAPERS`)."""
    task: str = ""
    """The guided task of the live lab on the same question; empty for none."""


_FORWARD, _DDIM, _GUIDANCE = ("ho2020",), ("ho2020", "song2021"), ("ho2022", "kynkaanniemi2019")
_LATENT = ("kingma2014", "rombach2022")
_TEXT = ("radford2021", "rombach2022")
_FLOW = ("lipman2023", "liu2023", "song2021b")
OUTLINE = (
    PlannedSlide("cover", 20),
    PlannedSlide("film", 20, papers=("sohl2015", "ho2020")),
    PlannedSlide("snr", 20, "snr", ("crossing",), True, "forward", ("ho2020", "kingma2021")),
    PlannedSlide("training_step", 20, "training_step", papers=("ho2020", "lecun1998")),
    PlannedSlide("loss", 45, "loss", (), True, "training_step", _FORWARD),
    PlannedSlide("loss_by_t", 90, "loss_by_t", ("beats_gaussian",)),
    PlannedSlide("loss_by_snr", ON_REQUEST, "loss_by_snr", ("loss_where_bits",), papers=("kingma2023",)),
    PlannedSlide("bits_by_t", 90, "bits_by_t", ("bits_late",), papers=("ho2020", "kingma2021")),
    PlannedSlide("strip", 20, "steps", (), True, "film", _FORWARD),
    PlannedSlide("ideal", 45, "ideal", ("blur_is_right",), True, "steps", task="guess"),
    PlannedSlide("ledger", 20, "ledger", (), True, papers=_DDIM),
    PlannedSlide("directions", 90, "directions", ("in_general",)),
    PlannedSlide("exposure", ON_REQUEST, "exposure", ("exposure",), papers=("schmidt2019", "ning2024")),
    PlannedSlide("notations", 90, "notations", ("same_state",), papers=("salimans2022",)),
    PlannedSlide("amplification", ON_REQUEST, "amplification", ("noise_grows",), papers=("salimans2022",)),
    PlannedSlide("ten_digits", 20, "ten_digits", task="labels"),
    PlannedSlide("label_switch", 45, "label_switch", ("obeyed",), True, task="label"),
    PlannedSlide("switch_pairs", 90, "switch_pairs", ("alike_later",), task="pair"),
    PlannedSlide("label_embedding", ON_REQUEST, "label_embedding", papers=("maaten2008",)),
    PlannedSlide("conditioning_map", 45, "conditioning_map", papers=("maaten2008", "rousseeuw1987")),
    PlannedSlide("label_worth", 90, "label_worth", ("saves_more",), papers=("guo2005", "kong2023")),
    PlannedSlide("wrong_clock", 45, "wrong_clock", ("wrong_costs",), True, task="clock"),
    PlannedSlide("time_embedding", 90, "time_embedding", papers=("vaswani2017",)),
    PlannedSlide("no_clock", 90, "no_clock", ("none_as_good",), True, papers=("sun2025",)),
    PlannedSlide("border_clock", ON_REQUEST, "border_clock", ("border_tells",), papers=("sun2025",)),
    PlannedSlide("model", 45, "model", papers=("ronneberger2015", "ho2020")),
    PlannedSlide("guidance", 20, "price", ("obeys", "forgets"), True, "guidance", _GUIDANCE, task="guidance"),
    PlannedSlide("autoguidance", ON_REQUEST, "autoguidance", ("auto_covers",), papers=("karras2024",)),
    PlannedSlide("samplers", 45, "strokes", ("few_strokes",), True, "samplers", (*_DDIM, "lu2022"), task="steps"),
    PlannedSlide("paths", 90, "paths", ("straighter",), papers=("song2021", "antognini2018")),
    PlannedSlide("score_field", ON_REQUEST, "score_field", papers=("song2021b",)),
    PlannedSlide("flow_paths", 90, "flow_paths", ("flow_straighter",), True, papers=_FLOW),
    PlannedSlide("flow_errors", 90, "flow_errors", ("flow_nearer",), papers=_FLOW),
    PlannedSlide("flow_guidance", ON_REQUEST, "flow_guidance", ("guidance_outwards",), papers=("ho2022",)),
    PlannedSlide("flow_digits", ON_REQUEST, "flow_digits", ("straight_by_training",), papers=_FLOW),
    PlannedSlide("flow_quality", ON_REQUEST, "flow_quality", ("flow_obeys",), papers=_FLOW),
    PlannedSlide(
        "decision",
        45,
        "settling",
        ("settles",),
        True,
        "decision",
        ("raya2023", "biroli2024", "sclocchi2025"),
        task="decide",
    ),
    PlannedSlide("forks", 90, "forks", ("fixed_by_ddpm",), True, papers=_DDIM, task="fork"),
    PlannedSlide("copies", 45, "copies", ("no_copies",), True, "copies", ("yoon2023",)),
    PlannedSlide("training_sizes", 90, "training_sizes", ("sizes_same_images",), papers=("kadkhodaie2024",)),
    PlannedSlide(
        "emergence", 90, "emergence", ("coarse_first",), True, "bands", ("dieleman2024", "falck2025"), task="coarse"
    ),
    PlannedSlide("blocks", 90, "blocks", ("coarse",)),
    PlannedSlide("label_geometry", 90, "label_geometry", ("vectors",), True, "label_embedding"),
    PlannedSlide("latent_space", 90, "latent_space", ("ceiling",), True, papers=_LATENT),
    PlannedSlide("latent_map", ON_REQUEST, "latent_map", ("map_label",), papers=_LATENT),
    PlannedSlide("latent_quality", 90, "latent_quality", ("cheaper",), papers=_LATENT),
    PlannedSlide("stable_diffusion", 90, "stable_diffusion", papers=("rombach2022", "radford2021")),
    PlannedSlide("prompts", 90, "prompts", ("held_out",), True, papers=(*_TEXT, "ho2022")),
    PlannedSlide("attributes", ON_REQUEST, "attributes", ("shape_follows",), papers=_TEXT),
    PlannedSlide("word_maps", ON_REQUEST, "word_maps", ("digit_on_ink",), papers=("vaswani2017", "rombach2022")),
    PlannedSlide("mistakes", 90, "mistakes", ("unseen",), True),
    PlannedSlide("summary", 20),
    PlannedSlide("references", 20),
    PlannedSlide("made_with", 20),
)
"""Every planned slide, in order. Figures that are not in it get a slide on request, behind those of their lesson."""
