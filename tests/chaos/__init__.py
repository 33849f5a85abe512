"""A chaos harness: seeded cases that kill, stop and race commands, and what must hold afterwards. ``make chaos``."""
