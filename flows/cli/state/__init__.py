"""The life of the local state: who uses it, what the dead have left open, what is broken in it, and its end."""
