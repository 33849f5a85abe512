"""Hides this process's environment and memory from other processes of the same user, as far as Linux can.

Steps run as the user who started the flow, and ``/proc/PID/environ`` of the flow's processes would show them what was
withheld from their own environment (:mod:`flows.engines.local.step_variables`). Nobody but who has CAP_SYS_PTRACE, as
root has outside of containers, reads the environment or memory of a process that is marked as not dumpable, or attaches
a debugger to it. As root nothing is hidden; nor are processes before ours, such as the shell that exported a secret.

The mark is inherited by a fork and lost by ``exec``, so what is started from here is as ever. Lost are core dumps of
this process, and py-spy and gdb without root: ``TANDEM_ALLOW_DEBUGGERS=1`` leaves it unmarked.
"""

import os
import sys

ALLOW = "TANDEM_ALLOW_DEBUGGERS"
_PR_SET_DUMPABLE = 4  # linux/prctl.h


def hide_memory() -> None:
    """Mark this process. Not on Linux, or where debuggers are to be let in, nothing is done."""
    if sys.platform == "linux" and not os.environ.get(ALLOW):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
