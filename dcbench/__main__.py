"""``python -m dcbench``."""

from dcbench.cli import main

if __name__ == "__main__":  # and not where a worker process imports it
    main()
