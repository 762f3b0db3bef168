"""What every room speaks: types, errors, the study's configuration, the cohort, the store."""
