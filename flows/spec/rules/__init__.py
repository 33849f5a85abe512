"""Rules for a job that was read: faults of its graph, and warnings."""
