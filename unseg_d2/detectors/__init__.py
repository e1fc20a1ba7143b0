"""One detector, two engines: Detectron2 where it is installed, torchvision parts where it is not."""
