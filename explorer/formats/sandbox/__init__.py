"""The child process that parses, and what it tells: the description of a network, checked."""
