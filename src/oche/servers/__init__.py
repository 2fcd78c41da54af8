"""Servers and clusters that are started on this machine, each on free loopback ports, and ended by who started them."""
