"""Parallel algorithms, written once against the cluster's face."""
