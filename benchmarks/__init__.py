"""Speed: the engine beside a plain transcription of the published algorithms, in one run,
alternating.
"""
