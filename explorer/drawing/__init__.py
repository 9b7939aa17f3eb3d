"""A cut becomes a draw list: places, looks, texts, curves, moves between two pictures."""
