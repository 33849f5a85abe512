"""Which steps of a job run and which are reused; imports neither Prefect nor MLflow."""
