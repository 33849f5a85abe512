"""Who rolls out, as the lease of an endpoint says: a process of a host."""

import socket

from flows.machine.living import is_running, this_process


def this_owner() -> str:
    """This process, so that others on this host can tell whether it still runs."""
    pid, began = this_process()
    return f"{_host()}:{pid}:{began}"


def is_dead(owner: str) -> bool:
    """Whether an owner is known to be dead: a process of this host that does not run any more."""
    host, _, process = owner.partition(":")
    pid, _, began = process.partition(":")
    return host == _host() and pid.isdecimal() and began.isdecimal() and not is_running(int(pid), int(began))


def _host() -> str:
    return socket.gethostname().partition(".")[0][:64].replace(":", "-").replace(" ", "-") or "host"
