"""The networks that data is distilled with and evaluated on."""
