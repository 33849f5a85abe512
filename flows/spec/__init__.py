"""Azure ML v2 YAML, read into frozen values, with every check that needs no engine. Pure."""
