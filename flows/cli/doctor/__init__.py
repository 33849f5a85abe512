"""``tandem doctor``: check all that a run needs, on this machine and in the workspace."""
