"""The Azure ML engine: jobs in a workspace."""
