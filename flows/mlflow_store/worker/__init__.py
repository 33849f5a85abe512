"""The calls of the MLflow worker, by subject. Imports the standard library, and MLflow late."""
