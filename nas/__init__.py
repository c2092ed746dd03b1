"""Architecture search: does training on a small set rank architectures as training on the whole
data does?
"""
