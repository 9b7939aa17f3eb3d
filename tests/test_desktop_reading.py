"""The window's line about the weights being read, and the key that pauses it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from explorer.desktop import reading
from explorer.desktop.reading import DesktopReading
from explorer.session.background import Progress


class Session:
    """Reads a tenth of 4 GB until it is paused."""

    state = "reading"

    @property
    def reading(self) -> Progress:
        return Progress(400_000_000, 4_000_000_000, self.state)

    def pause_reading(self) -> None:
        self.state = "paused"

    def resume_reading(self) -> None:
        self.state = "reading"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(reading.time, "monotonic", lambda: made.now)
    return made


def test_the_line_stands_in_the_corner_wherever_nothing_else_is_told(
    clock: SimpleNamespace,
) -> None:
    made = DesktopReading(Session())
    assert not made.news()
    assert made.under((), None) == ((), None)
    clock.now += 1
    assert made.news()
    shown = (("reading weights: 10 % of 4.0 GB", "p: pause"), (0.0, 0.0))
    assert made.under((), None) == shown
    tip = (("conv_1", "Conv2D"), (40.0, 50.0))
    assert made.under(*tip) == tip
    assert made.toggle() == ""
    clock.now += 1
    assert not made.news()  # a tip is being read: it stays
    assert made.under((), None) == (("reading paused at 10 % of 4.0 GB", "p: go on"), (0.0, 0.0))


def test_the_key_pauses_and_goes_on_only_while_the_line_is_there(clock: SimpleNamespace) -> None:
    session = Session()
    made = DesktopReading(session)
    made.news()
    assert "no large model" in made.toggle()
    assert session.state == "reading"
    clock.now += 1
    for wanted in ("paused", "reading"):
        made.news()
        assert made.toggle() == ""
        assert session.state == wanted
