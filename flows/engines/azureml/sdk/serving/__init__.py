"""Endpoints of a workspace: single requests for endpoints and deployments, and rows sent to them."""
