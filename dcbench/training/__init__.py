"""Training networks on images held on the device; knows nothing of distillation.

May import artifacts, networks and below.
"""
