"""What ``vizdiff evaluate`` says beside its numbers."""

from __future__ import annotations

from types import SimpleNamespace

from viz_diffusion.cli.evaluate import FEW, how_sampled, remarks_on


def found(count: int, fid: float, floor: float, kid: float = 1.0) -> SimpleNamespace:
    return SimpleNamespace(
        count=count, samples=SimpleNamespace(frechet=fid, kid=kid), real=SimpleNamespace(frechet=floor, kid=0.0)
    )


def test_guided_and_unguided_are_told_apart() -> None:
    assert how_sampled("ddim", 50, 1.0) == "DDIM, 50 steps, no guidance"
    assert how_sampled("ddpm", 1000, 1.5) == "DDPM, 1000 steps, guidance 1.5"


def test_few_samples_and_what_lies_below_the_floor_are_remarked() -> None:
    labels = lambda one: [label for label, _ in remarks_on(one)]  # noqa: E731
    assert labels(found(2000, 0.62, 0.24)) == []
    assert labels(found(FEW - 1, 0.62, 0.24)) == ["Few"]
    assert labels(found(100, 4.51, 4.89)) == ["Few", "Chance"]
    assert labels(found(2000, 0.20, 0.24)) == ["Chance"]
    assert labels(found(2000, 0.62, 0.24, kid=-0.5)) == ["Chance"]
