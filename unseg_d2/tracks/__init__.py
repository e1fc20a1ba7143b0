"""Masks of the frames of a video joined into tracks: what is the same object, where its masks are missing, the best."""
