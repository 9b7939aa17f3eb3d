"""ONNX: graphs, operators and tensors."""
