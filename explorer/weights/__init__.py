"""What the weights are: connections as matrices, units, and how their bytes are read."""
