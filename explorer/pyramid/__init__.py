"""The weights at every resolution: block statistics, the store, and what can be asked of them."""
