"""The four steps of the benchmark, a folder each, as Azure ML takes them."""
