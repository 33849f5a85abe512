"""What the parallel steps in this folder run; their readers only look whether it is there."""
