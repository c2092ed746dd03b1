"""``python -m dcbench``."""

from dcbench.cli import main

main()
