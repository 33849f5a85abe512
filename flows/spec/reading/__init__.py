"""Read jobs, pipelines and assets."""
