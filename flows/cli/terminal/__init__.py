"""What a person sees: log lines, the table of steps, exit codes."""
