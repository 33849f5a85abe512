"""``tandem reap``: jobs that run in the workspace though nobody waits for them."""
