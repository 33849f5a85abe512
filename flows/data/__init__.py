"""Files and data assets, identified by their content."""
