"""The terminal of a command: log lines, the table of steps, Ctrl+C, exit codes."""
