"""A worksheet and its answer key, made once for all tests of worksheets."""

from __future__ import annotations

import pytest
from worksheet_fakes import fake_digit, fake_others, fake_trajectory

from viz_diffusion.worksheet.plan import make_worksheet
from viz_diffusion.worksheet.tasks import AnswerKey, Worksheet


@pytest.fixture(scope="session")
def worksheet() -> tuple[Worksheet, AnswerKey]:
    """Return a worksheet of a made-up recording, and its answers."""
    return make_worksheet(fake_trajectory(), fake_others(), fake_digit(3))
