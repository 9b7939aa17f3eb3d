"""Weights as numbers, for the Python face."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from explorer.session.session import Session


class Numbers:
    """What can be asked of the weights of a session's network.

    Attributes
    ----------
    session : Session
    """

    session: Session

    def weights(
        self,
        node: str,
        weight: str | None = None,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> NDArray[Any]:
        """Every weight of a layer, exact: out units × in units.

        Parameters
        ----------
        node : str
            A layer, or some of its units.
        weight : str, optional
            Its name in the file or its role, such as ``"bias"``; the layer's first without it.
        rows, columns : slice
            Of out units and of in units, without a step.

        Returns
        -------
        float32 or float64 array, shape (rows, columns) or (rows, columns, taps)
            NaN for pairs of units that no weight joins; one row for what joins none.

        Raises
        ------
        NeuronautError
            If there is no such layer or weight, or nothing of it lies there.
        """
        from explorer.panel.export import weight_table

        return weight_table(self.session.model, node, weight, rows, columns).array()

    def save_weights(
        self,
        path: str | os.PathLike[str],
        node: str,
        weight: str | None = None,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> Self:
        """Write what `weights` gives to a file, band by band: it may be larger than memory.

        Parameters
        ----------
        path : path
            Ends in ``.npy`` or ``.csv``; written whole or not at all.
        node, weight, rows, columns
            As for `weights`.

        Raises
        ------
        NeuronautError
            As `weights`, and if the file cannot be written.
        """
        from explorer.panel.export import save_table, weight_table

        save_table(weight_table(self.session.model, node, weight, rows, columns), Path(path))
        return self
