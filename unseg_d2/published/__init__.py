"""What papers report: systems, benchmarks, protocols, sources and figures, each stated once."""
