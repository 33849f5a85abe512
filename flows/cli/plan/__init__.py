"""``tandem plan`` and ``tandem why``: what would run or be reused, and why."""
