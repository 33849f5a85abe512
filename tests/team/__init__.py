"""The servers of a team: Prefect and MLflow on PostgreSQL, behind credentials, with workers on hosts of their own."""
