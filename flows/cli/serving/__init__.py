"""Commands about what is served: deploy, promote, rollback, endpoints."""
