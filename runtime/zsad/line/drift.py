"""Drift of every camera of a line, told to the monitor; it alarms and changes nothing."""

from __future__ import annotations

import logging

from zsad.errors import InputError
from zsad.line.config import LineConfig
from zsad.line.evidence import Evidence
from zsad.line.monitor import Monitor
from zsad.line.recipes import Recipes
from zsad.line.record import ViewRecord
from zsad.recipe import Calibration, Recipe
from zsad.schema import sha256_of
from zsad.sources import Frame
from zsad.watch.config import DriftConfig
from zsad.watch.drift import DriftAlarm, DriftMonitor
from zsad.watch.likeness import cells_of
from zsad.watch.sampling import Sampling

LOG = logging.getLogger(__name__)


class DriftWatch:
    """Holds what was judged against the good parts of its recipe; one thread observes.

    One frame of each part counts, since the rate of false alarms is one per part. A camera that is
    judged by another calibration than before, as after a fallback, begins anew.
    """

    def __init__(
        self, config: LineConfig, recipes: Recipes, drift: DriftConfig, monitor: Monitor
    ) -> None:
        """Watch the cameras that have a recipe."""
        self._drift = drift
        self._monitor = monitor
        self._views = config.parts.views
        self._recipes = recipes
        self._watches: dict[tuple[str, str], DriftMonitor] = {}
        self._samplings: dict[str, Sampling] = {}
        self._alarms: dict[str, set[str]] = {}

    def observe(self, evidence: Evidence) -> None:
        """Take a judged frame into account; one without a calibrated verdict says nothing."""
        view = evidence.view
        try:
            alarms = self._observe(evidence.taken.frame, view)
        except InputError as error:
            LOG.warning("camera %s: drift cannot be seen: %s", view.camera, error)
            return
        if alarms is not None:
            self._tell(view.camera, {f"{a.kind}": f"{view.camera}: {a.describe()}" for a in alarms})

    def _observe(self, frame: Frame, view: ViewRecord) -> tuple[DriftAlarm, ...] | None:
        frame_bgr = frame.image_bgr
        if frame_bgr is None or view.calibration is None or view.score is None:
            return None
        watch = self._watch(view.camera, view.calibration)
        if not self._sampling(view.camera).counts(frame_bgr, frame.trigger, frame.captured_s):
            return None
        return watch.observe(frame_bgr, view.score)

    def _sampling(self, camera: str) -> Sampling:
        if camera not in self._samplings:
            region = cells_of(self._recipes[camera].roi)
            views = self._views.get(camera, 1)
            self._samplings[camera] = Sampling(self._drift.part_s, region, views)
        return self._samplings[camera]

    def _watch(self, camera: str, calibration_sha256: str) -> DriftMonitor:
        key = (camera, calibration_sha256)
        if key not in self._watches:
            recipe = self._recipes[camera]
            calibration = _of_hash(recipe, calibration_sha256)
            self._watches[key] = DriftMonitor(self._drift, calibration, recipe.drift)
            for line in self._watches[key].unwatched:
                LOG.warning("camera %s: %s", camera, line)
        return self._watches[key]

    def _tell(self, camera: str, alarms: dict[str, str]) -> None:
        for kind, line in alarms.items():
            self._monitor.raise_condition("alarm", f"drift {camera} {kind}", line)
        for kind in self._alarms.get(camera, set()) - set(alarms):
            self._monitor.clear_condition("alarm", f"drift {camera} {kind}")
        self._alarms[camera] = set(alarms)


def _of_hash(recipe: Recipe, calibration_sha256: str) -> Calibration | None:
    found = (each for each in recipe.calibrations if sha256_of(each) == calibration_sha256)
    return next(found, None)
