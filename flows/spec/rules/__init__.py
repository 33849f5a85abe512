"""What must hold of a job that was read: checks of the graph, and warnings."""
