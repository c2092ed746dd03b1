"""Published numbers and declared studies: plain declarations. May import system; never torch."""
