"""Label sets out to other tools, and a person's corrections back."""
