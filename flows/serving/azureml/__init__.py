"""Endpoints in an Azure ML workspace."""
