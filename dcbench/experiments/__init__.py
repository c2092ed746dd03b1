"""Distil, evaluate, trace and embed the cells of a grid, and store what comes out. May import
execution and below.
"""
