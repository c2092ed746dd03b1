"""Judging a synthetic set: protocols, and the networks that are trained by one.

May import distiller, training and below.
"""
