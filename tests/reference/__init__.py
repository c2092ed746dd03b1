"""Slow transcriptions of the papers' formulas, loops and all. They import nothing from dcbench,
which must equal them.
"""
