"""Hostile: files from strangers that would execute, swell, climb out of their folder, or lie about
what they hold.
"""
