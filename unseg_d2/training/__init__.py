"""Training, prediction and self-training rounds, the same for both engines."""
