"""Synthetic sets as files: the project's format, pictures, importers of other people's formats, and
exports.

May import images, records and below.
"""
