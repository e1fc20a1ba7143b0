"""One detector, two engines: Detectron2 if it is installed, torchvision otherwise."""
