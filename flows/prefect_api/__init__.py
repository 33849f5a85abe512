"""Prefect API of a command: a configured one, a served one, or a temporary server."""
