"""Deployments that get no requests: which of them may go, and how they are deleted."""
