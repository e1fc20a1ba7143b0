"""What the commands that show results do, as functions: the demo, and the page of a label set."""
