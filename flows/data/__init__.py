"""Files and data assets, known by their content."""
