"""What the Python face takes and returns: keywords that functions share, sets, results that a
notebook shows, a progress bar. May import reproduction and below.
"""
