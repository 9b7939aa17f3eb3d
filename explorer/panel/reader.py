"""Reads what the panel of the local window tells of a node, without holding the window up."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from explorer.errors import NeuronautError
from explorer.open_model import OpenModel
from explorer.panel.panel import incoming, layer_panel
from explorer.panel.statistics import (
    UNASKED,
    node_statistics,
    node_weights,
    weight_statistics,
)
from explorer.panel.weight_summary import Stopped, WeightSummary

# What comes within this time is shown at once; a panel that first says "reading" would flicker.
AT_ONCE = 0.03  # seconds
_END = 10.0  # seconds that a reading gets to end when the window closes


@dataclass(frozen=True)
class Details:
    """What is known of a node by now.

    Attributes
    ----------
    panel : mapping
        As `explorer.panel.panel.layer_panel` gives it.
    weight : int
        Which of ``panel["weights"]`` is told of.
    statistics : mapping or None
        Of that weight or of all in a group, as `explorer.panel.statistics.weight_statistics` gives
        it; ``None`` until it is read. While it is an estimate, `reading` is true.
    incoming : sequence of mapping
        Strongest connections into units, as `explorer.panel.panel.incoming` gives them.
    reading : bool
        Whether numbers are still to come.
    error : str
        Why they do not come, in one line; else empty.
    """

    panel: Mapping[str, Any]
    weight: int = 0
    statistics: Mapping[str, Any] | None = None
    incoming: Sequence[Mapping[str, Any]] = ()
    reading: bool = False
    error: str = ""


class PanelReader:
    """Keeps the details of the selected node; a later selection ends the reading for an earlier.

    Parameters
    ----------
    model : OpenModel
        Not closed before `close` has been called here.
    """

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        # The search for strong connections cannot be stopped halfway: one at a time.
        self._searching = threading.Lock()
        self._unwanted = threading.Event()
        self._threads: list[threading.Thread] = []
        self._details: Details | None = None

    @property
    def details(self) -> Details | None:
        """What is known by now; another object whenever there is news."""
        return self._details

    def show(self, path: str | None) -> None:
        """Begin to read on a node; ``None`` for none.

        Returns after at most 0.03 s of reading weights; what takes longer arrives in `details`.

        Raises
        ------
        UnknownNameError
            If there is no such node.
        """
        panel = layer_panel(self._model, path) if path is not None else None
        self._begin(Details(panel) if panel is not None else None)

    def step(self, by: int) -> bool:
        """Go on to another weight of the same layer, round and round; whether there is one."""
        before = self._details
        if before is None or len(before.panel["weights"]) < 2:
            return False
        weight = (before.weight + by) % len(before.panel["weights"])
        self._begin(Details(before.panel, weight))
        return True

    def close(self) -> None:
        """End all reading."""
        self._begin(None)
        for thread in self._threads:
            thread.join(_END)

    def _begin(self, details: Details | None) -> None:
        unwanted = threading.Event()
        with self._lock:
            self._unwanted.set()
            self._unwanted = unwanted
            self._details = details
        if details is None:
            return
        if details.panel["kind"] == "layer" and not details.panel["weights"]:
            return
        self._details = replace(details, reading=True)
        thread = threading.Thread(
            target=self._read, args=(details, unwanted), name="panel", daemon=True
        )
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()
        thread.join(AT_ONCE)

    def _read(self, details: Details, unwanted: threading.Event) -> None:
        """Complete the details, unless nobody wants them any more; runs in a thread."""
        panel = details.panel

        def told(summary: WeightSummary) -> None:
            statistics = {"shape": (), "dtype": "", "codes": False, "summary": summary,
                          "compared": ()}  # fmt: skip
            self._put(replace(details, statistics=statistics, reading=True), unwanted)

        try:
            if panel["weights"]:
                name = panel["weights"][details.weight]["name"]
                found = weight_statistics(self._model, panel["path"], name, unwanted.is_set, told)
                details = replace(details, statistics=found)
            elif panel["kind"] in ("unit", "units"):
                with self._searching:
                    if unwanted.is_set():
                        return
                    details = replace(details, incoming=incoming(self._model, panel["path"]))
            else:
                weights, nbytes = node_weights(self._model, panel["path"])
                if weights and nbytes <= UNASKED:
                    found = node_statistics(self._model, panel["path"], unwanted.is_set, told)
                    details = replace(details, statistics=found)
        except NeuronautError as error:
            details = replace(details, error=str(error))
        except Stopped:
            return
        except Exception as error:
            # A thread's fault would go unseen and the panel would say "reading" for ever.
            details = replace(details, error=f"cannot be told: {type(error).__name__}: {error}")
        self._put(details, unwanted)

    def _put(self, details: Details, unwanted: threading.Event) -> None:
        with self._lock:
            if not unwanted.is_set():
                self._details = details
