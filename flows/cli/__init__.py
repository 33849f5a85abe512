"""What a person types: ``tandem``, one module a command."""
