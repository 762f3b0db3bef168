"""Statistics, tables and figures over anybody's predictions."""
