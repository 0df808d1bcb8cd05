"""What a process asked of the disk, and every state in which a power cut could leave it.

`record` runs a command under strace and returns its operations below a folder, in order, together
with what it said on standard output. `crash_states` replays them into a model of a disk: what was
fsynced is there; of what was not, any part may be, in any order, torn at sectors, or as a file of
the right length full of zeros. A file's fsync does not make its name durable, its folder's does.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512

_CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,"
    "mkdir,mkdirat,rmdir"
)
_KNOWN = re.compile(r"^(\d+\.\d+) (\w+)\((.*)\) = (-?\d+)(.*)$", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})+)>")


@dataclass(frozen=True)
class Operation:
    """One thing that was asked of the disk; paths are relative to the folder.

    `kind` is create, mkdir, write, truncate, rename, unlink, sync or say.
    """

    kind: str
    path: str
    target: str = ""
    offset: int = 0
    data: bytes = b""


def record(command, folder, environment, log_folder):
    """Run a command under strace and return its operations below `folder`."""
    log_folder.mkdir()
    strace = [
        *("strace", "-ff", "-ttt", "-y", "-xx", "-s", "1000000", "--seccomp-bpf"),
        *("-e", f"trace={_CALLS}", "-o", str(log_folder / "log")),
    ]
    subprocess.run([*strace, *command], env=environment, check=True, capture_output=True)
    calls = []
    for log in log_folder.iterdir():
        lines = log.read_text().splitlines()
        calls += [found.groups() for line in lines if (found := _KNOWN.match(line))]
    parser = _Parser(Path(folder).resolve())
    for _, name, arguments, result, _ in sorted(calls, key=lambda call: float(call[0])):
        if int(result) >= 0:
            parser.add(name, arguments, int(result))
    return parser.operations


class _Parser:
    def __init__(self, root):
        self.root, self.operations, self.existing, self.lengths = str(root), [], {""}, {}

    def add(self, name, arguments, result):
        texts = [_plain(found[1]) for found in _TEXT.finditer(arguments)]
        assert "..." not in re.sub(_TEXT, "", arguments) or name == "openat", arguments[:200]
        descriptor = _DESCRIPTOR.match(arguments)
        path = self._inside(_plain(descriptor[2]).decode()) if descriptor else None
        if name in ("write", "pwrite64") and descriptor and descriptor[1] == "1":
            self.operations.append(Operation("say", "", data=texts[0]))
        elif name == "write" and path is not None:
            offset = self.lengths.get(path, 0)
            self.lengths[path] = offset + result
            self._add("write", path, offset=offset, data=texts[0][:result])
        elif name == "pwrite64" and path is not None:
            offset = int(arguments.rsplit(", ", 1)[1], 0)
            self._add("write", path, offset=offset, data=texts[0][:result])
        elif name == "ftruncate" and path is not None:
            self._add("truncate", path, offset=int(arguments.rsplit(", ", 1)[1], 0))
        elif name in ("fsync", "fdatasync") and path is not None:
            self._add("sync", path)
        elif name == "openat":
            self._open(texts[-1], arguments)
        elif name.startswith("rename"):
            source, target = (self._inside(text.decode()) for text in texts)
            if source is not None:
                self._add("rename", source, target=target)
                self.existing.add(target)
                self.existing.discard(source)
        elif name in ("unlink", "unlinkat", "rmdir"):
            self._named("unlink", texts[-1])
        elif name in ("mkdir", "mkdirat"):
            self._named("mkdir", texts[-1])

    def _open(self, text, arguments):
        path = self._inside(text.decode())
        if path is None:
            return
        if "O_CREAT" in arguments and path not in self.existing:
            self._add("create", path)
            self.existing.add(path)
        elif "O_TRUNC" in arguments:
            self._add("truncate", path, offset=0)
        self.lengths[path] = 0

    def _named(self, kind, text):
        path = self._inside(text.decode())
        if path:
            self._add(kind, path)
            (self.existing.discard if kind == "unlink" else self.existing.add)(path)

    def _inside(self, path):
        if path == self.root:
            return ""
        inside = path.startswith(self.root + "/")
        # The index of the log lives in shared memory and is made anew after a crash.
        return None if not inside or path.endswith("-shm") else path[len(self.root) + 1 :]

    def _add(self, kind, path, **rest):
        self.operations.append(Operation(kind, path, **rest))


def _plain(text):
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Disk:
    """Names and contents; inodes are numbers, names are paths."""

    names: dict = field(default_factory=dict)
    contents: dict = field(default_factory=dict)

    def copy(self):
        return Disk(dict(self.names), dict(self.contents))

    def apply(self, change, data=None):
        operation, inode = change
        if operation.kind in ("create", "mkdir"):
            self.names[operation.path] = inode
            self.contents.setdefault(inode, None if operation.kind == "mkdir" else b"")
        elif operation.kind == "rename":
            self.names.pop(operation.path, None)
            self.names[operation.target] = inode
        elif operation.kind == "unlink":
            self.names.pop(operation.path, None)
        else:
            self.contents[inode] = _changed(self.contents.get(inode, b""), operation, data)

    def write_to(self, folder):
        """Make the files; those whose folder is not there are lost with it."""
        for path, inode in sorted(self.names.items()):
            target = folder / path
            if not target.parent.is_dir():
                continue
            if self.contents[inode] is None:
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(self.contents[inode])

    def key(self):
        """Return what is equal for disks that hold the same."""
        return hash(tuple(sorted((p, self.contents[i] or b"") for p, i in self.names.items())))


def _changed(content, operation, data):
    if operation.kind == "truncate":
        return content[: operation.offset].ljust(operation.offset, b"\0")
    data = operation.data if data is None else data
    if not data:
        return content
    before = content[: operation.offset].ljust(operation.offset, b"\0")
    return before + data + content[operation.offset + len(data) :]


def crash_states(operations, rng, per_point, at=("sync", "say")):
    """Yield (index, what was said by then, disk) for cuts before or after operations.

    For each: with nothing that was not fsynced, with all of it, and `per_point` random states in
    between. Right before an fsync the most is at stake; what is said has to be there from then on.

    Args:
        operations: What `record` returned.
        rng: A numpy generator.
        per_point: Random states per operation.
        at: Kinds of operations to cut at.
    """
    cache, said = _Cache(), []
    for index, operation in enumerate(operations):
        if operation.kind == "say":
            said.append(operation.data.decode())
        if operation.kind in at:
            for number in range(2 + per_point):
                disk = cache.durable.copy()
                for change in cache.pending:
                    _maybe(disk, change, number, rng)
                yield index, "".join(said), disk
        if operation.kind != "say":
            cache.add(operation, index)


class _Cache:
    """What is on the disk for sure, and what may be: changes with the inodes that they are to."""

    def __init__(self):
        self.durable, self.pending = Disk(), []
        self._inodes, self._folders = {}, {""}

    def add(self, operation, index):
        if operation.kind == "sync":
            self._sync(operation.path)
        else:
            self.pending.append((operation, self._inode(operation, index)))

    def _inode(self, operation, index):
        inodes, path = self._inodes, operation.path
        if operation.kind in ("create", "mkdir"):
            inodes[path] = index
            if operation.kind == "mkdir":
                self._folders.add(path)
        elif operation.kind == "rename":
            inodes[operation.target] = inodes.pop(path)
            return inodes[operation.target]
        elif operation.kind == "unlink":
            return inodes.pop(path)
        return inodes[path]

    def _sync(self, path):
        left = []
        for change in self.pending:
            operation, inode = change
            if operation.kind in ("write", "truncate"):
                done = path not in self._folders and inode == self._inodes[path]
            else:
                done = path in self._folders and os.path.dirname(operation.path) == path
            if done:
                self.durable.apply(change)
            else:
                left.append(change)
        self.pending = left


def _maybe(disk, change, number, rng):
    if number == 0 or (number > 1 and rng.random() < 0.5):
        return
    operation, inode = change
    if number > 1 and operation.kind == "write" and rng.random() < 0.4:
        disk.apply(change, _torn(disk.contents.get(inode, b""), operation, rng))
    else:
        disk.apply(change)


def _torn(content, operation, rng):
    """The write with some of its sectors as they were before, or as zeros."""
    begin, data = operation.offset, bytearray(operation.data)
    old = content[begin : begin + len(data)].ljust(len(data), b"\0")
    if rng.random() < 0.2:
        # Bytes that were there stay; a length that grew without its data reads as zeros.
        kept = max(0, len(content) - begin)
        return bytes(old[:kept]) + bytes(len(data) - kept) if kept < len(data) else bytes(old)
    edges = [begin, *range((begin // SECTOR + 1) * SECTOR, begin + len(data), SECTOR)]
    for edge, end in zip(edges, [*edges[1:], begin + len(data)], strict=True):
        if rng.random() < 0.5:
            data[edge - begin : end - begin] = old[edge - begin : end - begin]
    return bytes(data)
