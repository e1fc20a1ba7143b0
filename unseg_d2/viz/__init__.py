"""Looking at results: overlays on images, an HTML gallery, and plots of the round figures."""
