"""Reproduce declared studies. May import nas, report, experiments and below."""
