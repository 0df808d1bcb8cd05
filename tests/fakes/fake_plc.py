"""A PLC at the handshake of a Modbus sink, on a clock that the test turns."""

from fake_outbox import FakeLine, FakeOutbox

from zsad.sinks.config import ModbusConfig
from zsad.sinks.handshake import Handshake
from zsad.sinks.pulse import Pulse
from zsad.sinks.registers import Flag, Register, words


class Plc:
    """A handshake, a line and a clock; `wait` turns the clock with the server looking on."""

    def __init__(self, first_seq=1, trigger=None, **config):
        self.now_s = 100.0
        self.outbox = FakeOutbox()
        self.line = FakeLine(self.outbox)
        pulse = Pulse(self.line.status, 3.0, lambda: self.now_s)
        self.handshake = Handshake(
            ModbusConfig(**config), pulse, first_seq, trigger, lambda: self.now_s
        )

    def wait(self, seconds):
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 0.1
            self.handshake.image()

    @property
    def flags(self):
        self.now_s += 0.06  # beyond what a pulse remembers
        return Flag(self.handshake.image()[Register.FLAGS])

    @property
    def result_id(self):
        image = self.handshake.image()
        return (image[Register.RESULT_ID] << 16) | image[Register.RESULT_ID + 1]

    @property
    def part(self):
        image = self.handshake.image()
        return (image[Register.PART] << 16) | image[Register.PART + 1]

    def commit(self, verdict, **changes):
        """Have the line commit a verdict and its courier bring it."""
        record = self.outbox.commit(verdict, **changes)
        self.handshake.notice([record])
        self.handshake.show(record)
        return record

    def trigger(self):
        """Set the coil and, as a PLC must, reset it; return whether the trigger was taken."""
        taken = self.handshake.write_trigger(True)
        self.handshake.write_trigger(False)
        return taken

    def acknowledge(self, number):
        self.handshake.write_holding(0, words(number))
