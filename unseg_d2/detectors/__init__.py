"""One detector, two engines: Detectron2 where it is installed, torchvision parts where it is not."""

from unseg_d2.detectors.protocol import Engine, Prediction, select_engine

__all__ = ["Engine", "Prediction", "select_engine"]
