"""A frozen TensorFlow graph (``.pb``): operators, and weights as constants, read in place."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import PurePath

from explorer.formats.containers.protobuf import BYTES, fields
from explorer.formats.containers.source import Source
from explorer.formats.record import Format, UnreadableError
from explorer.formats.savedmodel import flow_of
from explorer.formats.tensorflow_graph.flow import Flow
from explorer.formats.tensorflow_graph.layers import Layers
from explorer.formats.tensorflow_graph.messages import text
from explorer.formats.tensorflow_graph.nodes import GraphReader
from explorer.network import Network

_OPERATOR = re.compile(r"^[A-Z_][A-Za-z0-9_>.]{1,80}$")
_GRAPH_FIELDS = {(1, BYTES), (2, BYTES), (3, 0), (4, BYTES), (5, BYTES)}
_NODE_FIELDS = frozenset(range(1, 8))
_FIRST = 8  # nodes that are looked at


def matches(source: Source) -> bool:
    """Fields as a GraphDef has them, and first nodes with a name and an operator."""
    if source.is_folder or source.pread(0, 1) != b"\n":
        return False
    view = source.view()
    try:
        for place in islice(fields(view, 0, source.size), _FIRST):
            if (place.number, place.wire) not in _GRAPH_FIELDS:
                return False
            if place.number != 1:
                continue
            told = {}
            for field in fields(view, place.start, place.stop):
                if field.number not in _NODE_FIELDS or field.wire != BYTES:
                    return False
                if field.number in (1, 2):
                    told[field.number] = text(view, field)
            if not told.get(1) or not _OPERATOR.match(told.get(2, "")):
                return False
    except UnreadableError:
        return False
    return True


def read(source: Source) -> Network:
    """The network of a frozen graph."""
    view = source.view()
    nodes, functions = GraphReader(view, source.path).graph(0, source.size)
    flow = Flow(functions)
    flow_of(flow, nodes, [], {})
    return Layers(flow).network(PurePath(source.name).stem, "graphdef", ())


FORMAT = Format("graphdef", matches, read)
