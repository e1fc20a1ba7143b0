"""The Detectron2 engine and the parts of the extension; :mod:`unseg_d2.detectron2` is their public door."""
