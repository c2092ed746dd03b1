"""Tests of dcbench: one file per module."""
