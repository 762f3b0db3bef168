"""Figures: numbers and an `Axes` in, drawing out; nothing is computed and nothing is saved."""
