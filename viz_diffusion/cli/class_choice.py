"""Which class a command asks for: ``--digit`` or ``--label``, and what a run knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from viz_diffusion.cli.options import DEFAULT_DIGIT, check_digit
from viz_diffusion.errors import VizdiffUsageError, did_you_mean

if TYPE_CHECKING:
    from viz_diffusion.training.config import RunConfig


def check_choice(digit: int | None, label: str | None, prompts: Sequence[str] | None = None) -> None:
    """Refuse a digit that is none, and more than one of ``--digit``, ``--label`` and ``--prompt``."""
    if prompts and (digit is not None or label is not None):
        raise VizdiffUsageError(f"--{'digit' if label is None else 'label'} and --prompt exclude each other; give one")
    if digit is not None:
        check_digit(digit)
        if label is not None:
            raise VizdiffUsageError("--digit and --label exclude each other; give one")


def only_prompt(prompts: Sequence[str] | None, command: str, others: str) -> str | None:
    """Return the prompt, or None; refuse several, since a command draws one generation.

    ``others`` ends the message: where several are drawn.
    """
    if prompts and len(prompts) > 1:
        raise VizdiffUsageError(f"vizdiff {command} draws one prompt, found {len(prompts)}; {others}")
    return prompts[0] if prompts else None


def choose_label(config: RunConfig, digit: int | None, label: str | None) -> int:
    """Return the label that ``--digit`` or ``--label`` means for a run; without either, digit 5 or the first label.

    Raises
    ------
    VizdiffUsageError
        Where the run was trained without such a class; the message names those it knows.
    """
    return choose_class(config.present_labels, config.class_names or (), digit, label, "the run was trained on")


def choose_class(present: Sequence[int], names: Sequence[str], digit: int | None, label: str | None, whose: str) -> int:
    """Return the label that ``--digit`` or ``--label`` means among those present.

    Parameters
    ----------
    names
        Of all classes; empty for digits.
    whose
        Begins the message where it is not among them: "the run was trained on", "the data hold".
    """
    if digit is None and label is None:
        return DEFAULT_DIGIT if not names and DEFAULT_DIGIT in present else present[0]
    option, wanted = ("--digit", str(digit)) if label is None else ("--label", label)
    known = {(names[one] if names else str(one)): one for one in present}
    if wanted in known:
        return known[wanted]
    alike = [one for name, one in known.items() if name.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0]
    hint = did_you_mean(wanted, known)
    if label is None and names:
        hint = "; choose one with --label, or another `run`"
    shown = ", ".join(list(known)[:12]) + ", …" * (len(known) > 12)
    raise VizdiffUsageError(f"{option} {wanted!r} is not there: {whose} {shown}{hint}")
