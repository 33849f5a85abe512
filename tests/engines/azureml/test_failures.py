"""Whose fault a failed job is."""

import pytest

from flows.engines.azureml.failures import is_infrastructure


@pytest.mark.parametrize(
    "error",
    [
        "ServiceError: The job was preempted: the node that it ran on was taken away (low-priority capacity).",
        "UserError: The job was evicted by a job of higher priority",
        "AzureMLCompute: Node was lost while the job ran",
        "SystemError: Failed to pull the image",
        "NodePreempted: compute instance is gone",
        "Unknown: AzureMLCompute job failed. Node has been unusable for 10 minutes",
        "NotResponding: its machine does not answer any more",
        "JobNodePreemptedError: the low-priority VM went away",
    ],
)
def test_failure_of_a_machine_or_of_the_service_is_told_from_the_codes(error: str) -> None:
    assert is_infrastructure(error)


@pytest.mark.parametrize(
    "error",
    [
        "",
        "UserError: Execution failed. User process 'python' exited with status code 1.",
        "UserError: User process 'python' exited with status code 1. Error: ValueError: node lost in the tree",
        "UserError: exited with code 1: the column preempted is missing",
        "ValidationError: the input data is not there",
        "BadArgument: mini_batch_size",
    ],
)
def test_failure_of_the_code_or_its_input_is_not_taken_for_one_of_a_machine(error: str) -> None:
    assert not is_infrastructure(error)
