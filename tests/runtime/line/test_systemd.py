import os
import socket

import pytest

from zsad.line.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket as systemd's, and the name it has in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@zsad-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + name[1:] if name.startswith("@") else name)
        link.settimeout(5)
        yield name, link


def test_each_message_is_one_datagram(manager):
    name, link = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("two cameras\nand more")
    notifier.alive()
    notifier.status("degraded: sink down")
    notifier.stopping()
    assert [link.recv(4096).decode() for _ in range(4)] == [
        "READY=1\nSTATUS=two cameras and more",
        "WATCHDOG=1",
        "STATUS=degraded: sink down",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_without_systemd_nothing_is_sent_and_nothing_fails():
    notifier = Notifier({})
    notifier.ready("x")
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_is_a_warning(tmp_path, caplog):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()
    assert "systemd cannot be told WATCHDOG: No such file" in caplog.text


def test_an_unknown_kind_of_socket_is_a_warning(caplog):
    Notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).alive()
    assert "vsock:2:1234 is of a kind that is not known" in caplog.text


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(environment, watchdog_s):
    assert Notifier(environment).watchdog_s == watchdog_s
