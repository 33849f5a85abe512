"""Run any Azure ML YAML: from the file and its flags to outputs in a folder."""
