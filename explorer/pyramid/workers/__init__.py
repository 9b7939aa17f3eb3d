"""Who measures: this process, others on this machine, a cluster."""
