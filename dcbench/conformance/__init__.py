"""The contract of a distiller, and checks of whether it is kept. May import evaluation, families and below."""
