"""Addresses of pages in MLflow's web interface.

It opens as a tool for language models and shows no registered models there, unless the address says what it is for.
"""

_TRAINING = "?workflowType=machine_learning"


def experiments_page(base: str) -> str:
    """The list of experiments.

    Args:
        base: The address of the MLflow server.
    """
    return f"{base}/#/experiments{_TRAINING}"


def run_page(base: str, path: str) -> str:
    """The page of a run, whose ``path`` MLflow's store knows."""
    return f"{base}{path}{_TRAINING}"
