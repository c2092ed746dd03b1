"""Means, intervals, tests and rank correlations. Imports records and below, and SciPy."""
