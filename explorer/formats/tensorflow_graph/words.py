"""What the operators of TensorFlow that work number by number are called in Keras.

One table for frozen graphs, SavedModels, TensorFlow.js and, in capitals, TFLite.
"""

from __future__ import annotations

from explorer.formats.tensorflow_graph.lite_names import NAMES

ELEMENTWISE = {
    "Relu": "ReLU", "Relu6": "ReLU", "LeakyRelu": "LeakyReLU", "Elu": "ELU", "Selu": "Selu",
    "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Softplus": "Softplus", "Softsign": "Softsign",
    "Softmax": "Softmax", "LogSoftmax": "LogSoftmax", "Erf": "Identity", "Sqrt": "Sqrt",
    "Rsqrt": "Rsqrt", "Exp": "Exp", "Log": "Log", "Abs": "Abs", "Neg": "Negative",
    "Square": "Square", "Pow": "Power", "Add": "Add", "AddV2": "Add", "AddN": "Add",
    "BiasAdd": "Add",
    "Sub": "Subtract", "Mul": "Multiply", "RealDiv": "Divide", "Div": "Divide",
    "Maximum": "Maximum", "Minimum": "Minimum", "Cast": "Cast", "SelectV2": "Where",
    "Select": "Where", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round", "Sign": "Sign",
    "ClipByValue": "Clip", "SquaredDifference": "Subtract", "Erfc": "Identity", "Log1p": "Log1p",
    "Reciprocal": "Reciprocal", "Sin": "Sin", "Cos": "Cos", "FloorMod": "Mod", "PRelu": "PReLU",
    "Prelu": "PReLU", "FloorDiv": "FloorDivide", "Gelu": "Gelu",
}  # fmt: skip
_ONLY_LITE = {
    "RELU_N1_TO_1": "ReLU", "RELU_0_TO_1": "ReLU", "LOGISTIC": "Sigmoid",
    "HARD_SWISH": "HardSwish", "QUANTIZE": "Identity", "DEQUANTIZE": "Identity",
    "FAKE_QUANT": "Identity", "L2_NORMALIZATION": "UnitNormalization",
    "LOCAL_RESPONSE_NORMALIZATION": "Identity",
}  # fmt: skip
ELEMENTWISE_LITE = _ONLY_LITE | {
    name: ELEMENTWISE[word]
    for name in NAMES
    if (word := "".join(map(str.capitalize, name.split("_")))) in ELEMENTWISE
}
"""The same for operators of TFLite: ``LEAKY_RELU`` is ``LeakyRelu``."""
