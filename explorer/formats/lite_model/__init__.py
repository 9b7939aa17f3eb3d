"""TFLite: graphs, operators and tensors."""
