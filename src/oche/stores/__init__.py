"""Large values by reference: the seam, and one driver a file."""
