"""What the jobs in this folder run; their readers only look whether it is there."""
