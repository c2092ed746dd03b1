"""Judge a synthetic set: the protocols, and networks trained by one of them. May import distiller, training and below."""
