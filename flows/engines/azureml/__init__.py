"""The Azure ML engine."""
