"""``tandem reap``: end jobs that nobody waits for, and deployments that nobody needs."""
