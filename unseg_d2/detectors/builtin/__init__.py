"""The detector built from torchvision, for use without Detectron2."""
