"""``tandem doctor``: whether all that a run needs is there, here and in the workspace, and what to do if it is not."""
