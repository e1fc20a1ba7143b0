"""The detector in torchvision parts, for where Detectron2 is not installed."""
