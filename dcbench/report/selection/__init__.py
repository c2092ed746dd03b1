"""Which records may be compared, in which rows. Imports report statistics, records and below."""
