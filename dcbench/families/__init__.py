"""What several methods share: a base class for each family of methods. May import distiller, training and below."""
