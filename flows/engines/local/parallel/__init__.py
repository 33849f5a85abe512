"""Parallel steps on this machine: mini-batches, and the process that runs them."""
