"""How well published outputs are reproduced: readers of the published files, matching, reports."""
