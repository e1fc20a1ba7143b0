"""What Detectron2's trainer reports, sent to a tracker, and how long the training will take."""

from __future__ import annotations

from detectron2.engine import HookBase
from detectron2.utils.events import EventWriter, get_event_storage

from unseg_d2.loop.events import PERIOD
from unseg_d2.loop.outlook import say_outlook
from unseg_d2.loop.trackers import Tracker


class TrackerWriter(EventWriter):
    """Sends the newest numbers of Detectron2's storage, smoothed as on its terminal, to a tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker: Tracker | None = tracker
        self._last = -1

    def write(self) -> None:
        """Send what is new."""
        storage = get_event_storage()
        newest = storage.latest_with_smoothing_hint(PERIOD)
        values = {name: value for name, (value, iteration) in newest.items() if iteration > self._last}
        self._last = max((iteration for _, iteration in newest.values()), default=self._last)
        if values and self.tracker is not None:
            self.tracker.log(storage.iter, {name: float(value) for name, value in values.items()})

    def close(self) -> None:
        """End the run of the tracker; Detectron2 and our trainer both close what writes the log."""
        if self.tracker is not None:
            self.tracker.close()
        self.tracker = None


class Outlook(HookBase):
    """Says how long the training will take, once, after some iterations."""

    def after_step(self) -> None:
        """Look at the time of the iterations so far."""
        if self.trainer.iter - self.trainer.start_iter == PERIOD:
            seconds = self.trainer.storage.history("time").median(PERIOD)
            say_outlook(self.trainer.max_iter - self.trainer.iter - 1, seconds)
