"""What flows where: links by the node that holds them, and units into closed nodes."""
