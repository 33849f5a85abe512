"""Serving on this machine: a router on one port, a process for each instance, and the files that say what is wanted."""
