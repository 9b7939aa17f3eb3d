"""The local window."""
