"""One stage (QuerySD, from S2-UniSeg) in miniature: an experiment, described in docs/one_stage.md; no feature."""
