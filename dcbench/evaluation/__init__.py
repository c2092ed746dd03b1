"""Evaluate a synthetic set: protocols, and the training of networks by one.

May import distiller, training and below.
"""
