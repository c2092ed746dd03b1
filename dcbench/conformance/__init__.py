"""What every method must do (the contract), and the checks of ``dcbench check``.

May import evaluation, families and below.
"""
