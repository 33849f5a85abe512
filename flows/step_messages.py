"""What the local engine logs of a step, as formats: the console knows them by these from lines of the step's own."""

STARTED = "%s | started"
ENDED = "%s | %s after %.1f s"
REUSED = "%s | reused from the job %s"
