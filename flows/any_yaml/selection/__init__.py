"""Run some steps of a job: one, those from one on, or those that an earlier job has not finished."""
