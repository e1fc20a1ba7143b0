"""One table over systems and benchmarks: published figures, files of results and own runs."""
