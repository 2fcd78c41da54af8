"""Published comparisons, made again on this machine: how processes share a flag, an array, a counter."""
