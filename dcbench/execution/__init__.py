"""Carry out tasks: here one after another, in processes, or on Ray. May import conformance and
below.
"""
