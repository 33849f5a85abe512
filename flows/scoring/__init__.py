"""Scores tables of any size: here, or with a batch endpoint of an Azure ML workspace."""
