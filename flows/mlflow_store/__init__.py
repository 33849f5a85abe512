"""MLflow runs and registered models; the Protocol of a model registry."""
