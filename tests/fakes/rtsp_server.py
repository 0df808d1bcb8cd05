"""A real RTSP server, GStreamer's, with faults; a process of its own under the system's Python.

`/usr/bin/python3 rtsp_server.py` prints its port and obeys lines on standard input: `stall`, `go`,
`half-size`, `full-size`, `fast`, `slow`, `password WORD`, `digest WORD` (which is not sent itself),
`codec NAME` (for those that come later), `cut` (every client), `gone` and `back` (the stream). The
picture is SMPTE's colour bars, still, so that each first frame is like any other.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PATH = "/line"
CODECS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph265pay",
    "jpeg": "jpegenc quality=95 ! rtpjpegpay",
    "vp8": "vp8enc deadline=1 keyframe-max-dist=10 ! rtpvp8pay",
}


def caps(width=320, height=240, rate_hz=20):
    return f"video/x-raw,format=I420,width={width},height={height},framerate={rate_hz}/1"


class Server:
    def __init__(self, codec):
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service("0")
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.codec, self.caps = codec, caps()
        self.encode(codec)
        self.factory.connect("media-configure", self.configured)
        self.server.get_mount_points().add_factory(PATH, self.factory)
        self.server.attach(None)
        self.media = []

    def configured(self, factory, media):
        self.media.append(media)
        media.connect("unprepared", self.media.remove)

    def encode(self, codec):
        """Take a codec for clients that come from now on."""
        self.codec = codec
        self.factory.set_launch(
            f"( videotestsrc is-live=true name=source ! capsfilter name=size caps={self.caps}"
            f" ! valve name=valve ! {CODECS[codec]} name=pay0 pt=96 )"
        )

    def elements(self, name):
        return [media.get_element().get_child_by_name(name) for media in self.media]

    def resize(self, **options):
        """Change size and rate for the clients of now and those that come."""
        self.caps = caps(**options)
        self.encode(self.codec)
        for element in self.elements("size"):
            element.set_property("caps", Gst.Caps.from_string(self.caps))

    def stall(self, stalled):
        for element in self.elements("valve"):
            element.set_property("drop", stalled)

    def ask_password(self, word, method):
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.set_supported_methods(method)
        basic = GstRtspServer.RTSPAuth.make_basic("admin", word)
        auth.add_basic(basic, token)
        auth.add_digest("admin", word, token)
        self.server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        self.factory.set_permissions(permissions)

    def cut(self):
        self.server.client_filter(lambda server, client: GstRtspServer.RTSPFilterResult.REMOVE)

    def obey(self, line):
        word, _, value = line.strip().partition(" ")
        points = self.server.get_mount_points()
        orders = {
            "stall": lambda: self.stall(True),
            "go": lambda: self.stall(False),
            "half-size": lambda: self.resize(width=160, height=120),
            "full-size": lambda: self.resize(),
            "fast": lambda: self.resize(rate_hz=40),
            "slow": lambda: self.resize(rate_hz=2),
            "password": lambda: self.ask_password(value, GstRtsp.RTSPAuthMethod.BASIC),
            "digest": lambda: self.ask_password(value, GstRtsp.RTSPAuthMethod.DIGEST),
            "codec": lambda: self.encode(value),
            "cut": self.cut,
            "gone": lambda: points.remove_factory(PATH),
            "back": lambda: points.add_factory(PATH, self.factory),
        }
        orders[word]()
        print("done", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", choices=CODECS, default="h264")
    Gst.init(None)
    server = Server(parser.parse_args().codec)
    loop = GLib.MainLoop()

    def readable(channel, condition):
        line = sys.stdin.readline()
        if not line:
            loop.quit()
            return False
        server.obey(line)
        return True

    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, readable)
    print(server.server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
