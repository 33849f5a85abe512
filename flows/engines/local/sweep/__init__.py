"""Sweeps on this machine: the search, and its trials."""
