"""A wrong name is answered at once with the nearest ones, whatever there is to choose from."""

from __future__ import annotations

import time

import pytest

from explorer.errors import UnknownNameError

ALIKE = [f"block_{i}_" + "conv_bn_" * 24 + str(i) for i in range(20_000)]
USUAL = [f"conv{i % 7}_block{i}_1_conv" for i in range(20_000)]
SCOPES = ["model/encoder_with_a_long_name/" * 6 + f"layer_{i}/query" for i in range(20_000)]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("block_conv_bn_17x" * 12, ALIKE),
        ("conv2_block1_1_cov", USUAL),
        ("model/encoder_with_a_long_name/" * 6 + "layer_777/qury", SCOPES),
        ("x" * 10**6, ALIKE),
    ],
)
def test_twenty_thousand_names_take_no_time(name: str, known: list[str]) -> None:
    def taken() -> float:
        start = time.process_time()
        UnknownNameError("node", name, known)
        return time.process_time() - start

    assert min(taken() for _ in range(3)) < 0.05 * 3  # 0.05 s is meant; a loaded machine is slower


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("magnitud", ["signed", "mean", "magnitude"], "magnitude"),
        ("conv_91", [f"dense_{i}" for i in range(5000)] + ["conv_9", "conv_19"], "conv_9"),
        ("block9", [f"a/b{i}/c" for i in range(6000)] + ["my_block9_conv"], "my_block9_conv"),
        ("encoder/layer_7/qury", [f"encoder/layer_{i}/query" for i in range(400)],
         "encoder/layer_7/query"),
    ],
)  # fmt: skip
def test_the_nearest_name_is_offered(name: str, known: list[str], near: str) -> None:
    assert near in str(UnknownNameError("node", name, known)).split("did you mean ")[1]


def test_without_any_name_there_is_no_hint() -> None:
    assert str(UnknownNameError("node", "a", [])) == "no node called 'a'"
    assert "did you mean b?" in str(UnknownNameError("node", "a", ["b"]))
    UnknownNameError("node", "", ["", "b"])


def test_of_few_names_all_are_told_where_none_is_near() -> None:
    known = ["layered", "flat", "helix", "radial", "serpentine"]
    told = str(UnknownNameError("layout", "zzz", known))
    assert told == "no layout called 'zzz'; there are flat, helix, layered, radial, serpentine"
    many = str(UnknownNameError("node", "zzz", [f"conv_{i}" for i in range(100)]))
    assert many.endswith("and others")
