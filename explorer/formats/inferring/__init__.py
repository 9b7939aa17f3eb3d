"""A network from a file that holds nothing but tensors and their names.

Layers follow from the last part of the names and from shapes; links, where the names are those of
an architecture that is known, are marked as inferred. What is not known has no links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from explorer.formats.inferring.chains import wire_chains
from explorer.formats.inferring.layers import as_told, layers_of, single_channel, turned_names
from explorer.formats.inferring.modules import modules_of
from explorer.formats.inferring.stacks import stacks_of, wire_stacks
from explorer.formats.inferring.wiring import Wiring
from explorer.formats.naming.text import Names
from explorer.network import Network, Weight
from explorer.plain_text import clean

__all__ = ["MOST_TENSORS", "network_of_tensors"]

MOST_TENSORS = 300_000
"""No model has more; the largest with experts have some 100 000."""
_LONGEST = 1000  # characters of a name that is taken apart


def network_of_tensors(
    name: str,
    form: str,
    tensors: Sequence[Weight],
    config: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Network:
    """Layers, and links where they can be inferred, from tensors.

    Parameters
    ----------
    name : str
        Of the network.
    form : str
        Name of the format.
    tensors : sequence of Weight
        In the order of the file. A role stands for the name of a tensor whose own name does not
        say to which module it belongs.
    config : mapping
        What the file or its neighbour tells of the architecture, in the words of Hugging Face's
        ``config.json``; empty where nothing is told. Of a live module of PyTorch also
        ``norm_first`` of its transformers, and as ``convolutions`` by name the groups of each and
        whether it is transposed.
    notes : sequence of str

    Returns
    -------
    Network
    """
    names, modules = Names(), modules_of([_short(i, t) for i, t in enumerate(tensors)])
    turned, single = turned_names(modules), single_channel(modules)
    layers = [layer for module in modules for layer in layers_of(module, names, turned, single)]
    layers = as_told(layers, config)
    wiring = Wiring(layers, names)
    wire_stacks(wiring, stacks_of(layers, config), config)
    wire_chains(wiring, config)
    ordered = wiring.ordered()
    known = bool(wiring.links)
    said = "links are inferred from names" if known else "links are not recorded in this format"
    refused = f"{wiring.refused} links whose widths do not fit are left out"
    told = [*notes, said, *([refused] if wiring.refused else [])]
    links = tuple(wiring.links)
    return Network(clean(name), form, ordered, links=links, links_known=known, notes=tuple(told))


def _short(number: int, tensor: Weight) -> Weight:
    """A tensor, its name cut where it would be a tree of a thousand levels."""
    if len(tensor.name) <= _LONGEST:
        return tensor
    return replace(tensor, name=f"{clean(tensor.name)}~{number}".replace(".", "_"))
