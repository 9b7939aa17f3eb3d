"""TensorFlow.js: graphs and weights."""
