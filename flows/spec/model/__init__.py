"""The frozen values that a YAML file is read into."""
