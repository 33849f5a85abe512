"""What is set up on the Prefect server: work pool, deployments, automations, and the block that messages go through."""
