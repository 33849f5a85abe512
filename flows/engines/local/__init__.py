"""The local engine: jobs on this machine."""
