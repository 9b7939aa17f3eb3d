"""Two files of one architecture: what belongs together, and by how much it changed."""
