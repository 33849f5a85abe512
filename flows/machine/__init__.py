"""This machine: the folder of the local state, who uses it, and what others here may read or send."""
