"""Whose fault a failed job is, by what Azure ML says of it. Pure."""

import re

# The service and its machines, whatever the code that ran.
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
# The end of the code's own words, which may well speak of nodes.
_EXIT = re.compile(r"exit(ed)?( with)?( status| non-?zero)*( code)?|user process|user code", re.IGNORECASE)


def is_infrastructure(error: str) -> bool:
    """Whether a job failed through no fault of its code or input, so that it may do better on another machine.

    Args:
        error: ``code: message``, as the run history has it. Without any, the code is to blame.
    """
    if _SERVICE.search(error):
        return True
    return bool(_MACHINE.search(error)) and not _EXIT.search(error)
