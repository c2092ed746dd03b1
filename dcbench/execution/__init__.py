"""Execute tasks: in this process, in worker processes, or on Ray. May import conformance
and below.
"""
