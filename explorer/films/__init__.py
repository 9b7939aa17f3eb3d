"""Tours, films and single pictures."""
