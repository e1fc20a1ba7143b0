"""Doing many jobs: what they are, who holds them, and the processes of this machine or of a cluster that do them."""
