"""One detector, two engines: Detectron2 where it is installed, torchvision parts where it is not."""

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.protocol import Engine, select_engine

__all__ = ["Engine", "Prediction", "select_engine"]
