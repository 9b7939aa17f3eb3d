"""TensorFlow: graphs, functions and variables."""
