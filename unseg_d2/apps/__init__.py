"""The commands that show results, as functions: the demo, and the page of a label set."""
