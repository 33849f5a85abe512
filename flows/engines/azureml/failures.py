"""Classify failed jobs: did the machine or service fail, or the job's own code? Pure."""

import re

# Errors of the service and its machines, whatever code ran.
_SERVICE = re.compile(
    r"^(ServiceError|SystemError|InternalServerError|InternalError|InfrastructureError|ServiceUnavailable"
    r"|\w*Preempt\w*|\w*Evict\w*|Node\w*|\w*NotResponding)\b",
    re.IGNORECASE,
)
_MACHINE = re.compile(
    r"preempted|preemption|evicted|node (was |is |has been |went )?(lost|unusable|unreachable|taken|deallocated|failed)"
    r"|lost (the |its )?(node|heartbeat|connection to the node)|(not|stopped) responding|no heartbeat",
    re.IGNORECASE,
)
# The job's own code ended with an exit code; its message may mention nodes, too.
_EXIT = re.compile(r"exit(ed)?( with)?( status| non-?zero)*( code)?|user process|user code", re.IGNORECASE)


def is_infrastructure(error: str) -> bool:
    """Whether the machine or the service made a job fail, so that it may succeed on another machine.

    Args:
        error: ``code: message`` or ``code > inner code: message``, as the run history has it; if it is empty, the
            code is taken to be at fault.
    """
    if any(_SERVICE.match(code) for code in error.partition(":")[0].split(" > ")):
        return True
    return bool(_MACHINE.search(error)) and not _EXIT.search(error)
