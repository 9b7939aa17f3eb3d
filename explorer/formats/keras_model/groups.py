"""The groups of a Keras file of weights, also where they are spread over several files.

A sharded save is an index, ``NAME.weights.json``, and HDF5 files ``NAME_00000.weights.h5`` beside
it; each holds part of one tree of groups, and a layer's variables may begin in one and end in the
next. See ``ShardedH5IOStore`` in ``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from explorer.formats.containers.hdf5 import Hdf5, Node, Tensor
from explorer.formats.containers.source import View
from explorer.formats.naming.text import parse_json
from explorer.formats.record import UnreadableError
from explorer.plain_text import clean

SUFFIX = ".weights.h5"
_MOST_SHARDS = 1000
_FILE = 48  # bits of an address within one file


class Merged(Node):
    """A group whose contents lie in several files.

    Parameters
    ----------
    groups : sequence of (int, Node)
        The same group in each of the files that hold part of it, and the number of the file.
    """

    def __init__(self, groups: Sequence[tuple[int, Node]]) -> None:
        number, first = groups[0]
        self.name, self.is_dataset = first.name, False
        self.address = (number << _FILE) + first.address
        self._groups = groups
        self._links: dict[str, int] | None = None
        self._children: dict[str, Node] = {}

    @property
    def links(self) -> dict[str, int]:
        """Names and addresses of what the group holds in any of the files."""
        if self._links is None:
            self._links = {}
            for number, group in self._groups:
                for name, address in group.links.items():
                    self._links.setdefault(name, (number << _FILE) + address)
        return self._links

    def child(self, name: str) -> Node | None:
        """What the group holds under a name or a path of names, or ``None``."""
        head, _, rest = name.partition("/")
        if head not in self.links:
            return None
        if head not in self._children:
            found = [(n, c) for n, g in self._groups if (c := g.child(head)) is not None]
            if any(node.is_dataset for _, node in found):
                if len(found) > 1:
                    raise UnreadableError(f"two files hold {clean(found[0][1].name)!r}")
                self._children[head] = found[0][1]
            else:
                self._children[head] = Merged(found)
        node = self._children[head]
        return node.child(rest) if rest else node

    def text(self, name: str) -> str | None:
        """A text attribute, of the first file that tells it."""
        return next((t for _, g in self._groups if (t := g.text(name)) is not None), None)

    def texts(self, name: str) -> list[str] | None:
        """A list of texts, of the first file that tells it."""
        return next((t for _, g in self._groups if (t := g.texts(name)) is not None), None)

    def tensor(self) -> Tensor:
        """Never: a group is no dataset."""
        raise UnreadableError(f"{clean(self.name)!r} is a group in one file and not in another")


def root_of(view: View, name: str) -> Node:
    """The root of one file of weights.

    Raises
    ------
    UnreadableError
        Naming the file.
    """
    try:
        return Hdf5(view).root
    except UnreadableError as error:
        raise UnreadableError(f"{name}: {error}") from None


def sharded_root(index: bytes, name: str, opened: Callable[[str], View]) -> Node:
    """The root of the files that an index names.

    Parameters
    ----------
    index : bytes
        Text of the index.
    name : str
        Of the index, for messages.
    opened : callable (str) -> View
        Opens one of the files beside it.

    Raises
    ------
    UnreadableError
        If it names anything but such files, or a file lacks what it is said to hold.
    """
    data = parse_json(index, name)
    told = data.get("weight_map") if isinstance(data, Mapping) else None
    if not isinstance(told, Mapping) or not told:
        raise UnreadableError(f"{name} tells no weight_map")
    places = {key: value if isinstance(value, list) else [value] for key, value in told.items()}
    files = list(dict.fromkeys(str(file) for listed in places.values() for file in listed))
    if len(files) > _MOST_SHARDS:
        raise UnreadableError(f"{name} names too many files")
    for file in files:
        if "/" in file or "\\" in file or not file.endswith(SUFFIX):
            raise UnreadableError(f"{name} names a part {clean(file, 80)!r} outside its own folder")
    roots = {file: root_of(opened(file), file) for file in sorted(files)}
    for key, listed in places.items():
        for file in listed:
            if roots[str(file)].child(key.strip("/")) is None:
                raise UnreadableError(f"{file} does not hold {clean(key)!r}")
    return Merged(list(enumerate(roots.values())))
