"""Synthetic sets as files: our format, pictures, and importers of others' formats. May import images, records and below."""
