"""Text for a person: tables as aligned lines, and control characters made visible."""
