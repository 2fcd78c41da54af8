"""One machine, many processes: arrays, flags, counters and locks in memory that they share."""
