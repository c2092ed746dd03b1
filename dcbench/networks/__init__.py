"""The network architectures, each once, and what they cost."""
