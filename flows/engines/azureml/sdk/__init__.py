"""Access to an Azure ML workspace through the unmodified SDK, which no other package imports."""
