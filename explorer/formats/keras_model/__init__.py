"""Keras: configurations, layers and variables."""
