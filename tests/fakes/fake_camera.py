"""A network camera with every fault that is known of cameras, as a process of its own.

`python fake_camera.py http` or `rtsp` prints its port and obeys lines on standard input: the name
of a fault, `none` to be a good camera again, or `password WORD`. Every picture is a still of known
pixels: JPEG over HTTP, and raw BGR (RFC 4175), which loses nothing, in RTSP interleaved over TCP.
"""

import argparse
import base64
import contextlib
import socket
import struct
import sys
import threading
import time

import cv2
import numpy as np

FAULTS = (
    "none",
    "refuse",  # nobody listens any more
    "silent",  # accepts and never answers
    "no-data",  # answers, and then sends nothing
    "stall",  # stops sending
    "half",  # half pictures; in RTSP, the connection ends in the middle of each
    "garbage",  # what is no picture at all
    "size",  # another size in the middle of the stream
    "double",  # twice the rate
    "drip",  # byte after byte
    "reset",  # the connection is reset, again and again
    "end",  # the stream ends in good order
    "jump",  # time stamps jump back
    "missing",  # there is no such stream
)
CUTTING = ("refuse", "silent", "no-data", "missing", "garbage")
"""Faults that a connection which is there already would not show."""
SIZE_WH = (64, 48)
OTHER_WH = (32, 24)


def picture(size_wh=SIZE_WH):
    """Known pixels: blue grows to the right, green downwards, red is high in one corner."""
    width, height = size_wh
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width, dtype=np.uint8) * 3
    image[..., 1] = np.arange(height, dtype=np.uint8)[:, None] * 4
    image[: height // 2, : width // 2, 2] = 200
    return image


def stamp_of(image):
    """When a stamped picture was sent, in seconds of the monotonic clock."""
    return struct.unpack("!d", image[0].reshape(-1)[:8].tobytes())[0]


def jpeg(size_wh=SIZE_WH):
    return cv2.imencode(".jpg", picture(size_wh), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


class FakeCamera:
    """What both protocols share: connections, faults and their control."""

    def __init__(self, rate_hz, password, stamped):
        self.rate_hz, self.password, self.stamped = rate_hz, password, stamped
        self.fault = "none"
        self.since = threading.Condition()
        self.connections = set()
        self.listener = None
        self.port = 0
        self.listen()

    def listen(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=16)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.add(connection)
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        try:
            if self.fault == "silent":
                while self.fault == "silent" and connection.recv(4096):
                    pass
                return
            self.talk(connection)
        except OSError:
            pass
        finally:
            self.connections.discard(connection)
            connection.close()

    def obey(self, line):
        word, _, value = line.strip().partition(" ")
        if word == "password":
            self.password = value
            self.cut()
            return
        assert word in FAULTS, word
        self.fault = word
        if word in CUTTING:
            self.cut()
        if word == "refuse":
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        elif self.listener is None:
            self.listen()

    def cut(self):
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def pictures(self, connection):
        """Yield the size of each picture when it is due, as the fault of the moment wants it."""
        while True:
            if self.fault == "end":
                return
            if self.fault == "reset":
                # With a linger of 0, closing resets; and a reader lets go of it only when woken.
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.shutdown(socket.SHUT_RD)
                raise ConnectionResetError
            if self.fault in ("stall", "no-data"):
                time.sleep(0.02)
                continue
            yield OTHER_WH if self.fault == "size" else SIZE_WH
            time.sleep(1 / self.rate_hz / (2 if self.fault == "double" else 1))

    def send(self, connection, content):
        if self.fault != "drip":
            connection.sendall(content)
            return
        for index in range(len(content)):
            if self.fault != "drip":
                connection.sendall(content[index:])
                return
            connection.sendall(content[index : index + 1])
            time.sleep(0.02)

    def is_welcome(self, request):
        if not self.password:
            return True
        token = base64.b64encode(f"admin:{self.password}".encode()).decode()
        return f"Basic {token}" in request


class HttpCamera(FakeCamera):
    """JPEG after JPEG, multipart/x-mixed-replace."""

    def talk(self, connection):
        request = connection.recv(4096).decode()
        if not self.is_welcome(request):
            challenge = b'WWW-Authenticate: Basic realm="camera"\r\n'
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\n" + challenge + b"\r\n")
            return
        if self.fault == "missing":
            connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
            return
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n"
        )
        for size_wh in self.pictures(connection):
            body = b"no picture" * 99 if self.fault == "garbage" else jpeg(size_wh)
            if self.fault == "half":
                body = body[: len(body) // 2]
            head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            self.send(connection, head.encode() + body + b"\r\n")


class RtspCamera(FakeCamera):
    """Raw BGR pictures in RTP, interleaved in the RTSP connection."""

    def talk(self, connection):
        while True:
            request = b""
            while b"\r\n\r\n" not in request:
                block = connection.recv(4096)
                if not block:
                    return
                request += block
            words = request.decode().split()
            number = words[words.index("CSeq:") + 1]
            if not self.is_welcome(request.decode()):
                self.answer(connection, number, 'WWW-Authenticate: Basic realm="camera"', "", 401)
            elif self.fault == "missing":
                self.answer(connection, number, "", "", 404)
            else:
                self.method(connection, words[0], number)
            if words[0] == "TEARDOWN":
                return

    def method(self, connection, name, number):
        if name == "DESCRIBE":
            self.answer(connection, number, "Content-Type: application/sdp", self.session())
        elif name == "SETUP":
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1"
            self.answer(connection, number, transport)
        elif name == "PLAY":
            self.answer(connection, number, "Session: 1")
            threading.Thread(target=self.play, args=[connection], daemon=True).start()
        else:
            self.answer(connection, number, "Public: DESCRIBE, SETUP, PLAY, TEARDOWN")

    def session(self):
        width, height = SIZE_WH
        lines = [
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=fake",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "m=video 0 RTP/AVP 96",
            f"a=rtpmap:96 {'nothing' if self.fault == 'garbage' else 'raw'}/90000",
            f"a=fmtp:96 sampling=BGR; depth=8; width={width}; height={height}",
            f"a=framerate:{self.rate_hz}",
            "a=control:track1",
        ]
        return "\r\n".join(lines) + "\r\n"

    def answer(self, connection, number, headers="", body="", status=200):
        lines = [f"RTSP/1.0 {status} word", f"CSeq: {number}"]
        lines += [headers] if headers else []
        lines += [f"Content-Length: {len(body)}"] if body else []
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def play(self, connection):
        with contextlib.suppress(OSError):
            self.stream(connection)
            connection.shutdown(socket.SHUT_RDWR)

    def stream(self, connection):
        sequence, begun_s = 0, time.monotonic()
        for _ in self.pictures(connection):
            stamp = int((time.monotonic() - begun_s) * 90000) + (1 << 30)
            if self.fault == "jump":
                stamp -= 1 << 29
            image = picture()
            if self.stamped:
                image[0].reshape(-1)[:8] = np.frombuffer(struct.pack("!d", time.monotonic()), "u1")
            for first in range(0, len(image), 12):
                if self.fault == "half" and first >= len(image) // 2:
                    return
                rows, last = image[first : first + 12], first + 12 >= len(image)
                self.send(connection, packet(rows, first, sequence, stamp, last))
                sequence = (sequence + 1) & 0xFFFF


def packet(rows, first, sequence, stamp, last):
    """One interleaved RTP packet with some lines of a picture, RFC 4175."""
    payload = struct.pack("!H", 0)  # the high half of the sequence number
    for index, row in enumerate(rows):
        more = 0x8000 if index + 1 < len(rows) else 0
        payload += struct.pack("!HHH", row.size, first + index, more)
    payload += rows.tobytes()
    header = struct.pack(
        "!BBHII", 0x80, 96 | (0x80 if last else 0), sequence, stamp & 0xFFFFFFFF, 7
    )
    return struct.pack("!BBH", 0x24, 0, len(header) + len(payload)) + header + payload


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=["http", "rtsp"])
    parser.add_argument("--rate-hz", type=float, default=20.0)
    parser.add_argument("--password", default="")
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--stamped", action="store_true", help="RTSP: write the time in row 0")
    arguments = parser.parse_args()
    kind = {"http": HttpCamera, "rtsp": RtspCamera}[arguments.protocol]
    camera = kind(arguments.rate_hz, arguments.password, arguments.stamped)
    print(camera.port, flush=True)
    camera.obey(arguments.fault)
    for line in sys.stdin:
        camera.obey(line)
        print("done", flush=True)


if __name__ == "__main__":
    main()
