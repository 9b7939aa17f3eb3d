"""Which axis of a kernel counts what, and where its rows, columns and taps lie in the file.

Frameworks order the axes of the same kernel differently: a Keras convolution stores (taps…, in,
out), PyTorch and ONNX (out, in, taps…), TFLite (out, taps…, in). A `Kernel` says it in strides, so
that no rule for a kind of layer has to know the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from explorer.network import Weight

_LETTERS = frozenset("oik")


@dataclass(frozen=True, slots=True)
class Kernel:
    """Lengths and strides of a kernel's axes, in elements.

    Attributes
    ----------
    weight : Weight
    out, inside, taps : int
        Out channels, in channels, and taps of each pair.
    out_step, in_step, tap_step : int
        Distance in the flat weight from one to the next.
    """

    weight: Weight
    out: int
    inside: int
    taps: int
    out_step: int
    in_step: int
    tap_step: int

    @property
    def turned(self) -> bool:
        """Whether neighbouring elements belong to neighbouring in channels, not out channels."""
        return self.in_step < self.out_step

    def rectangle(self, out: tuple[int, int] | None = None,
                  inside: tuple[int, int] | None = None) -> dict[str, Any]:  # fmt: skip
        """Where the pairs of some out and some in channels lie, for `Matrix`.

        Parameters
        ----------
        out, inside : (first, stop), optional
            All channels where left out.
        """
        (o0, o1), (i0, i1) = out or (0, self.out), inside or (0, self.inside)
        major, minor = (o1 - o0, self.out_step), (i1 - i0, self.in_step)
        if not self.turned:
            major, minor = minor, major
        return {
            "weight": self.weight,
            "offset": o0 * self.out_step + i0 * self.in_step,
            "taps": self.taps,
            "tap_stride": self.tap_step,
            "major": major[0],
            "major_stride": major[1],
            "minor": minor[0],
            "minor_stride": minor[1],
            "transposed": self.turned,
        }


def axes_of(weight: Weight, default: str) -> str:
    """The letters of a kernel's axes; empty where they do not fit its shape.

    Parameters
    ----------
    weight : Weight
    default : str
        As Keras stores it; ``"k"`` stands for any number of taps.
    """
    spare = len(weight.shape) - len(default.replace("k", ""))
    letters = weight.axes or default.replace("k", "k" * max(spare, 0))
    return letters if len(letters) == len(weight.shape) and set(letters) <= _LETTERS else ""


def kernel_of(weight: Weight, default: str) -> Kernel | None:
    """The axes of a kernel.

    Parameters
    ----------
    weight : Weight
    default : str
        As for `axes_of`.

    Returns
    -------
    Kernel or None
        ``None`` where the axes do not fit the shape, or lie so that neither rows nor taps can be
        read in runs.
    """
    letters = axes_of(weight, default)
    if letters.count("o") != 1 or letters.count("i") != 1:
        return None
    if "k" in letters and set(letters[letters.index("k") : letters.rindex("k") + 1]) != {"k"}:
        return None  # taps on both sides of a channel axis
    step = {c: prod(weight.shape[letters.rindex(c) + 1 :]) for c in set(letters)}
    size = {c: weight.shape[letters.index(c)] for c in "oi"}
    taps = prod(n for n, c in zip(weight.shape, letters, strict=True) if c == "k")
    found = Kernel(weight, size["o"], size["i"], taps, step["o"], step["i"], step.get("k", 0))
    least = min(found.out_step, found.in_step)
    beside = least == 1 or (least == taps and found.tap_step == 1)
    return found if beside else None
