"""Distil, evaluate, trace and embed the cells of a grid, and store the results. May import
execution and below.
"""
