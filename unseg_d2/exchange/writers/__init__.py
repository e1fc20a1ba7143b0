"""One file per format that label sets are written in."""
