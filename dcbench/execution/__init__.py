"""Carry out tasks: one after another, or on Ray. May import conformance and below."""
