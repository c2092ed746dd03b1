"""Base classes and loops that several methods share, one module for each family.

May import distiller, training and below.
"""
