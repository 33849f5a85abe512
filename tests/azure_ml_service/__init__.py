"""A loopback Azure ML service: what the unmodified SDK and azureml-mlflow need, on this machine. See README.md."""
