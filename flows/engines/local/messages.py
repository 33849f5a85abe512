"""What the local engine logs of a step, as formats: the console knows them by these from lines of the step's own."""

STARTED = "%s | started"
ENDED = "%s | %s after %.1f s"
REUSED = "%s | reused from the job %s"
INPUT_CHANGED = (
    "%s | its input %s is not what it was when the step was planned: the step, or something else, wrote to it. "
    "The step will not be reused. Azure ML mounts inputs read-only: write to an output, or to a copy"
)
