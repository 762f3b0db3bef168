"""Where cohorts come from: generated ones, and published ones."""
