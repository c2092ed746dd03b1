"""Synthetic sets as files: the project's format, pictures, importers for other formats, and
exports. May import images, records and below.
"""
