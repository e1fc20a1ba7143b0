"""What every training stands on: the loop of the small networks, checkpoints, processes and the log."""
