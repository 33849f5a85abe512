"""From parameters to request, gate, registration and summary."""
