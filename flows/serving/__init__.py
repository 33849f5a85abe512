"""Where a model answers requests: one Protocol, a package for each place."""
