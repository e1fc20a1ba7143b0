"""What all trainings share: the loop of the small networks, checkpoints, processes and the log."""
