"""What this machine does with each key of a YAML file."""
