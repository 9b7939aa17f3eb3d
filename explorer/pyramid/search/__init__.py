"""The strongest connections, exactly."""
