"""How a Prefect flow run names, submits, suspends and ends its job, and tells about it."""
