"""dcbench: dataset-distillation methods compared under one protocol.

Importing this package imports nothing else: ``dcbench --help`` must answer at once.
"""

__version__ = "0.1.0"
__distribution__ = "dcbench-distillation"  # another project's package is called dcbench too
