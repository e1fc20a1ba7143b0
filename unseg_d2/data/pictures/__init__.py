"""All decoding of pictures: which formats are read, how their values become 8 bit, what is refused and why."""
