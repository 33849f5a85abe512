"""Tests of a new deployment: known rows, the answers of the model itself, and what requests by the route get."""
