"""The seam to a broker, and one driver a file."""
