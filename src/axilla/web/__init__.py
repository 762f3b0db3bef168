"""The study in a browser."""
