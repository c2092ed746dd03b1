"""Does a synthetic set rank architectures as the whole data does?"""
