"""Names, paths and orders of what a file holds."""
