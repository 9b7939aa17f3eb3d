"""From numbers to colours: linear, by logarithm or by rank, with the ticks that a legend prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
Kind = Literal["linear", "log", "rank"]
Bounds = tuple[float, float]

TITLES: dict[Kind, str] = {"linear": "linear scale", "log": "log scale", "rank": "scale by rank"}
"""What a legend calls each kind."""

_FAINTEST = 0.05  # share of the values that a logarithmic scale leaves below its low end
_LOG_SPAN = 1000.0  # largest ratio of the ends that such a scale takes by itself
_WORTH_LOG = 5.0  # smallest ratio for which it is chosen


@dataclass(frozen=True, eq=False)
class ColorScale:
    """A range of numbers laid on a ramp of colours.

    Attributes
    ----------
    kind : str
        ``"linear"``; ``"log"``: equal steps are equal ratios; ``"rank"``: equal steps are equal
        shares of the numbers that were fitted, equal numbers taking the mean of their ranks.
    low, high : float
        Numbers at the two ends of the ramp; what lies beyond takes the end's colour. On a diverging
        scale they are magnitudes: its middle is all within `low` of zero, its ends are -`high` and
        `high`.
    ramp : uint8 array, shape (r, 3)
    diverging : bool
        Whether the sign counts: the scale is symmetric about zero.
    fitted : float64 array, shape (m,)
        The numbers that are drawn, without NaN.
    chosen : bool
        Whether a person chose the ends.
    shares : bool
        Whether the numbers are shares, which are written as percentages.
    """

    kind: Kind
    low: float
    high: float
    ramp: NDArray[np.uint8]
    diverging: bool = False
    fitted: F8 = field(default_factory=lambda: np.zeros(0))
    chosen: bool = False
    shares: bool = False

    @cached_property
    def magnitudes(self) -> F8:
        """The fitted numbers, without their sign where the scale is diverging; sorted."""
        return np.sort(np.abs(self.fitted) if self.diverging else self.fitted)

    @property
    def below(self) -> int:
        """How many of the fitted numbers lie below the low end."""
        return int(np.searchsorted(self.magnitudes, self.low, "left"))

    @property
    def above(self) -> int:
        """How many of the fitted numbers lie above the high end."""
        return len(self.magnitudes) - int(np.searchsorted(self.magnitudes, self.high, "right"))

    def position(self, values: F8) -> F8:
        """Where values lie on the ramp, 0..1, clipped; never falls where values rise."""
        if not self.diverging:
            return self._share(values)
        return np.asarray(0.5 + 0.5 * np.sign(values) * self._share(np.abs(values)))

    def colors(self, values: F8) -> NDArray[np.uint8]:
        """RGB of each value; uint8 array of shape (m, 3)."""
        at = self.position(values)
        return np.asarray(self.ramp[np.rint(at * (len(self.ramp) - 1)).astype(int)])

    def text(self, value: float) -> str:
        """A number as the legend writes it."""
        return percent(value) if self.shares else number(value)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions on the ramp with their numbers, low to high.

        The numbers are values on every kind of scale. Where values lie beyond an end its number has
        a ``≤`` or ``≥``.
        """
        if self.high <= self.low:
            return ((0.5, self.text(self.high)),)
        return self._diverging_ticks() if self.diverging else self._plain_ticks()

    def _plain_ticks(self) -> tuple[tuple[float, str], ...]:
        values = self._marks(np.linspace(0.0, 1.0, 4))
        texts = [self.text(float(v)) for v in values]
        if self.below:
            texts[0] = f"≤ {texts[0]}"
        if self.above:
            texts[-1] = f"≥ {texts[-1]}"
        at = self.position(values).tolist()
        found = dict(zip(at, texts, strict=True))
        found.update({at[0]: texts[0], at[-1]: texts[-1]})  # where places meet, ends are told
        return tuple(sorted(found.items()))

    def _diverging_ticks(self) -> tuple[tuple[float, str], ...]:
        ends = [self.text(-self.high), self.text(self.high)]
        if (self.fitted < -self.high).any():
            ends[0] = f"≤ {ends[0]}"
        if (self.fitted > self.high).any():
            ends[1] = f"≥ {ends[1]}"
        middle = (0.5, f"0 ± {self.text(self.low)}" if self.low > 0 else "0")
        if self.kind == "linear":
            return ((0.0, ends[0]), middle, (1.0, ends[1]))
        half = float(self._marks(np.array([0.0, 0.5, 1.0]))[1])
        at = float(self._share(np.array([half]))[0]) / 2
        found = {0.5 - at: self.text(-half), 0.5 + at: self.text(half)}
        found.update(((0.0, ends[0]), middle, (1.0, ends[1])))  # where places meet, ends are told
        return tuple(sorted(found.items()))

    def _marks(self, shares: F8) -> F8:
        """Magnitudes worth a tick at about these shares of the way from low to high."""
        if self.kind == "log":
            return np.geomspace(self.low, self.high, len(shares))
        if self.kind == "rank":
            inner = self._ranked
            if len(inner):
                inner = np.quantile(inner, shares[1:-1], method="nearest")
            return np.concatenate(([self.low], inner, [self.high]))
        return self.low + (self.high - self.low) * shares

    @cached_property
    def _ranked(self) -> F8:
        """The fitted magnitudes within the range, sorted."""
        stop = len(self.magnitudes) - self.above
        return self.magnitudes[self.below : stop]

    def _share(self, sizes: F8) -> F8:
        """How far magnitudes lie on the way from low to high, 0..1, clipped."""
        if self.high <= self.low:
            return np.full(len(sizes), 1.0 if self.diverging else 0.5)
        if self.kind == "rank":
            at = self._rank_share(sizes)
        elif self.kind == "log":
            low, high = np.log(self.low), np.log(self.high)
            at = (np.log(np.maximum(sizes, self.low)) - low) / (high - low)
        else:
            at = (sizes - self.low) / (self.high - self.low)
        return np.asarray(np.clip(at, 0.0, 1.0))

    def _rank_share(self, sizes: F8) -> F8:
        ranked = self._ranked
        if len(ranked) == 0:
            return np.where(sizes >= self.high, 1.0, 0.0)
        before = np.searchsorted(ranked, sizes, "left")
        upto = np.searchsorted(ranked, sizes, "right")
        if len(ranked) == 1:
            return np.asarray((before + upto) / 2)
        return np.asarray((before + upto - 1) / 2 / (len(ranked) - 1))


def fit_scale(
    values: F8,
    ramp: NDArray[np.uint8],
    diverging: bool,
    wish: str = "automatic",
    bounds: Bounds | None = None,
    shares: bool = False,
) -> ColorScale:
    """A scale that suits these values.

    Parameters
    ----------
    values : float64 array, shape (m,)
        All that is drawn; NaN is left out.
    ramp : uint8 array, shape (r, 3)
    diverging : bool
        Whether the sign counts.
    wish : str
        ``"linear"``, ``"log"``, ``"rank"``, or ``"automatic"``: by logarithm where magnitudes
        without sign spread over more than a factor of 5, else linear.
    bounds : (float, float), optional
        Magnitudes at the ends, low before high. Without them a linear scale goes from zero to the
        largest; a logarithmic one from the 5 % quantile, at least a thousandth of the largest; one
        by rank from the least.
    shares : bool
        Whether the values are shares, 0 to 1.
    """
    known = values[~np.isnan(values)]
    sizes = np.abs(known[np.isfinite(known)]) if diverging else known[np.isfinite(known)]
    positive = sizes[sizes > 0]
    high = float(sizes.max(initial=0.0))
    if len(positive) == 0:
        # There is nothing to take a logarithm of, or to rank.
        low, top = bounds or (0.0, 1.0 if shares else high)
        return ColorScale("linear", low, top, ramp, diverging, known, bounds is not None, shares)
    least = max(float(np.quantile(positive, _FAINTEST)), high / _LOG_SPAN)
    kind = _kind(wish, high / least > _WORTH_LOG and not diverging)
    low = least if kind == "log" else 0.0
    if kind == "rank" and not diverging:
        low = float(sizes.min())
    if bounds is not None:
        low, high = bounds
        if kind == "log" and low <= 0:
            low = least if least < high else high / _LOG_SPAN
    return ColorScale(kind, low, high, ramp, diverging, known, bounds is not None, shares)


def _kind(wish: str, spread: bool) -> Kind:
    for kind in TITLES:
        if wish == kind:
            return kind
    return "log" if spread else "linear"


def number(value: float) -> str:
    """A number with three significant digits, as a person writes it."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 10000:
        digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
        return f"{value:.{digits}f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def count(value: int) -> str:
    """A whole number with thin groups of three digits: ``262 144``."""
    return f"{value:,}".replace(",", "\u202f")


def percent(share: float) -> str:
    """A share as a percentage with two significant digits; never rounded up to 100 %."""
    if share >= 1:
        return "100 %"
    value = 100 * share
    text = f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.1g}"
    return f"{'>99' if text == '100' else text} %"
