"""Other people's synthetic sets: one file for each layout in which they are published.

``catalogue`` is the table of the layouts, ``importing`` makes one of our sets of what they read.
Neither the table nor a layout imports torch before it reads, so that commands and reports can name
layouts at once. May import images, datasets and below.
"""
