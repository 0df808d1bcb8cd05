"""Frames for the judges of a line, and what they say of them."""

import time

import numpy as np

from zsad.line.accounts import Ticket
from zsad.line.judge import Taken
from zsad.sources import CameraConfig, Frame

CAMERAS = (CameraConfig("top", "rtsp://127.0.0.1:1"), CameraConfig("side", "rtsp://127.0.0.1:2"))


def take(judges, camera, level, number=1):
    image = np.full((8, 12, 3), level, np.uint8)
    frame = Frame(str(number), image, None, time.monotonic())
    return Taken(Ticket(number, camera, time.monotonic()), frame, judges.identity(camera))


def verdicts(judges, *levels):
    frames = [take(judges, c, v, n) for n, (c, v) in enumerate(levels)]
    found = {one.taken.ticket.number: one.view for one in judges.judge(frames)}
    return [found[number] for number in range(len(frames))]
