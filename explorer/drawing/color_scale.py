"""From numbers to colours, with the ticks that a legend prints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class ColorScale:
    """A range of numbers laid on a ramp of colours.

    Attributes
    ----------
    low, high : float
        Numbers at the two ends of the ramp; what lies beyond takes the end's colour.
    log : bool
        Whether steps on the ramp are equal ratios.
    ramp : uint8 array, shape (r, 3)
    """

    low: float
    high: float
    log: bool
    ramp: NDArray[np.uint8]

    def position(self, values: F8) -> F8:
        """Where values lie on the ramp, 0..1, clipped."""
        if self.high <= self.low:
            return np.full(len(values), 0.5)
        if self.log:
            at = np.log(np.maximum(values, self.low) / self.low) / np.log(self.high / self.low)
        else:
            at = (values - self.low) / (self.high - self.low)
        return np.asarray(np.clip(at, 0.0, 1.0))

    def colors(self, values: F8) -> NDArray[np.uint8]:
        """RGB of each value; uint8 array of shape (m, 3)."""
        at = self.position(values)
        return np.asarray(self.ramp[np.rint(at * (len(self.ramp) - 1)).astype(int)])

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions on the ramp with their numbers, low to high."""
        if self.high <= self.low:
            return ((0.5, number(self.high)),)
        if self.log:
            values = np.geomspace(self.low, self.high, 4)
        elif self.low < 0 < self.high:
            values = np.array([self.low, 0.0, self.high])
        else:
            values = np.linspace(self.low, self.high, 4)
        at = self.position(values)
        return tuple((float(p), number(float(v))) for p, v in zip(at, values, strict=True))


def fit_scale(values: F8, ramp: NDArray[np.uint8], diverging: bool) -> ColorScale:
    """A scale that suits these values.

    A scale of magnitudes is logarithmic from the 5 % quantile (at least a thousandth of the
    largest) when the values spread over more than a factor of 5, else linear from zero. A
    diverging scale is linear and symmetric about zero.
    """
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return ColorScale(0.0, 0.0, False, ramp)
    high = float(np.abs(finite).max())
    if diverging:
        return ColorScale(-high, high, False, ramp)
    positive = finite[finite > 0]
    if len(positive) == 0:
        return ColorScale(0.0, high, False, ramp)
    low = max(float(np.quantile(positive, 0.05)), high / 1000)
    if high / low > 5:
        return ColorScale(low, high, True, ramp)
    return ColorScale(0.0, high, False, ramp)


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
