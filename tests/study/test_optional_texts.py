"""A chapter's subtitle and a picture's details: shown where the catalogue has them, empty where it has not."""

from __future__ import annotations

from lesson_context import make_context, mute

from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.noising import lesson as noising
from viz_diffusion.study.narrative import narrate
from viz_diffusion.text.catalogue import Texts, load_texts

OPTIONAL = {"chapter.noising.subtitle": "A subtitle", "picture.snr.details": "T = {num_train_timesteps}, −1 is -1."}


def test_subtitle_and_details_are_optional() -> None:
    finding = Finding.measure(noising.LESSON, make_context(mute(), heldout=60))
    entries = {key: text for key, text in load_texts("en").items() if key not in OPTIONAL}
    recording = {"digit": 5, "seed": 0, "num_steps": 1000}
    (without,) = narrate([finding], recording, Texts("en", entries))
    (told,) = narrate([finding], recording, Texts("en", entries | OPTIONAL))
    details = [{drawing.name: drawing.details for drawing in one.drawings}["snr"] for one in (without, told)]
    assert details == ["", "T = 1000, −1 is −1."]
    assert (without.subtitle, told.subtitle) == ("", "A subtitle")
    pictures = dict.fromkeys(("forward", "snr"))
    assert told.chapter(pictures).subtitle == "A subtitle"  # type: ignore[arg-type]  # a chapter only keeps pictures
