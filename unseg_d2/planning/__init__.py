"""A self-training run without a recipe: what fits the images, the machine and the time."""
