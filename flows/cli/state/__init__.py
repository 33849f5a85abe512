"""``tandem state``, and the checks of the local state that every run makes: check, close, repair, delete."""
