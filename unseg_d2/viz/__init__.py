"""Pictures of results: overlays on images, an HTML gallery, and plots of the metrics of rounds."""
