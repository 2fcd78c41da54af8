"""Compiled inner loops, each with a plain Python twin as its oracle."""
