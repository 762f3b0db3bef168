"""The study as one HTML file."""
