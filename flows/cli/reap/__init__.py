"""``tandem reap``: cancel jobs of the workspace that nobody waits for."""
