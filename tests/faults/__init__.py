"""Faults: killed, interrupted, out of space, damaged, in each other's way, diverged."""
