"""``tandem plan`` and ``tandem why``: show what would run or be reused, and explain what did."""
