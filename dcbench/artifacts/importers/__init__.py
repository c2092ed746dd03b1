"""Importers of other projects' synthetic sets: one file for each layout.

``catalogue`` is the table of layouts; ``importing`` turns what a layout reads into a set. A layout
imports torch only when it reads, so that commands and reports can list layouts at once. May import
images, datasets and below.
"""
