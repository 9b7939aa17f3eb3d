"""The line about the weights being read: neither for small models, nor flickering, nor racing."""

from __future__ import annotations

import pytest

from explorer.session.background import Progress
from explorer.session.reading_line import LEAST, ReadingLine, size

TOTAL = 15_000_000_000


def progress(share: float, state: str = "reading", total: int = TOTAL) -> Progress:
    return Progress(int(share * total), total, state)


def told() -> ReadingLine:
    """A line that shows 10 % since second 1."""
    line = ReadingLine()
    line.update(progress(0.1), 0.0)
    assert line.update(progress(0.1), 1.0)
    return line


def test_it_tells_after_a_while_what_is_read() -> None:
    line = ReadingLine()
    assert not line.update(progress(0.0), 10.0)
    assert not line.update(progress(0.2), 10.4)
    assert line.text == ""
    assert line.update(progress(0.379), 10.6)
    assert line.text == "reading weights: 37 % of 15.0 GB"
    assert not line.paused


def test_a_small_model_is_never_told_of() -> None:
    line = ReadingLine()
    for second in range(10):
        for state in ("reading", "paused", "idle"):
            assert not line.update(progress(0.1, state, LEAST), second) or line.text == ""
    assert line.text == ""


def test_the_number_changes_twice_a_second_at_most() -> None:
    line, changes = told(), 0
    for step in range(1, 101):  # ten seconds, a percent each tenth of a second
        changes += line.update(progress(0.1 + step / 200), 1.0 + step / 10)
    assert 15 <= changes <= 20
    assert not line.update(progress(0.6), 100.0) or line.text == "reading weights: 60 % of 15.0 GB"
    assert not line.update(progress(0.6), 200.0)  # nothing new: nothing to send


def test_a_pause_shows_at_once_and_stays() -> None:
    line = told()
    assert line.update(progress(0.1, "paused"), 1.1)
    assert (line.text, line.paused) == ("reading paused at 10 % of 15.0 GB", True)
    assert not line.update(progress(0.1, "paused"), 1000.0)
    line.update(progress(0.1, "idle"), 1000.1)  # the thread has not begun again yet
    assert line.text == "reading weights: 10 % of 15.0 GB"
    line.update(progress(0.3), 1000.9)
    assert line.text == "reading weights: 30 % of 15.0 GB"


def test_it_goes_when_all_is_read_and_a_moment_after_the_thread_rests() -> None:
    line = told()
    assert line.update(progress(1.0, "idle"), 1.1)
    assert line.text == ""
    line = told()
    assert not line.update(progress(0.1, "idle"), 1.1)
    assert not line.update(progress(0.1), 1.4)  # the next picture's turn
    assert not line.update(progress(0.1, "idle"), 1.5)
    assert line.update(progress(0.1, "idle"), 2.1)
    assert line.text == ""
    assert not line.update(progress(0.1), 2.2)  # a new reading has to last again


def test_a_pause_with_all_read_is_not_told() -> None:
    line = told()
    assert line.update(progress(1.0, "paused"), 1.1)
    assert line.text == ""


def test_counting_is_told_by_its_share() -> None:
    line = ReadingLine()
    for second, state, text in (
        (0.0, "reading", ""),
        (1.0, "reading", "counting weights: 37 %"),
        (2.0, "paused", "counting paused at 37 %"),
    ):
        line.update(Progress(3_799_000_000, 10_000_000_000, state, counting=True), second)
        assert line.text == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 MB"), (40_400_000, "40 MB"), (999_499_999, "999 MB"), (999_500_000, "1.0 GB"),
     (16_061_899_220, "16.1 GB")],
)  # fmt: skip
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text
