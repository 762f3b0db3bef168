"""A finished model elsewhere: applied to slides and patients that its study never saw."""
