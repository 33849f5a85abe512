"""Tandem: one Azure ML pipeline definition, run on your laptop or on Azure ML, seen in Prefect."""
