"""What lies on disk: images, annotations, data sets and the samples made from them."""
