"""The command line: ``tandem``, with a module or a package for each command."""
