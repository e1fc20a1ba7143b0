"""One file per format that corrections come back in."""
