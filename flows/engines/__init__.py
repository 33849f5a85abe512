"""Where a job runs: one Protocol, one module an engine."""
