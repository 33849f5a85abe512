"""Places where a table is scored: this machine, and the batch endpoint of a workspace."""
