"""What the weights are: connections as matrices, units, statistics at every resolution."""
