"""Architecture search: does a synthetic set rank architectures as the whole data does?"""
