"""Objects of a running program as networks."""
