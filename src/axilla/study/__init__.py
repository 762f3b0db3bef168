"""A study: the one place where the rooms meet."""
