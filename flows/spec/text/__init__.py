"""YAML text with line numbers: keys, places and faults."""
