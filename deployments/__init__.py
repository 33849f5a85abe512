"""Set-up of a Prefect server: work pool, deployments, automations, and the block that messages are sent through."""
