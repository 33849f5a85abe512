"""The processes of a local run: step host, MLflow worker, tracking server."""
