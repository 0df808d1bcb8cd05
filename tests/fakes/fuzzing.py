"""Seeded damage to files and to JSON, for tests that a reader ends well or in an `InputError`."""

import copy
import json

from zsad.errors import InputError

VALUES = (
    None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", " ", "0", "..", "/etc/passwd", "a" * 5000, "\x00", "\ud800", "\u202e", "ß",
    [], [None], [[]], {}, {"": None}, {"schema": 1},
)  # fmt: skip
"""What a key may hold that it should not."""

TEXTS = (
    b"", b"\x00", b"{", b"[", b"null", b"1", b'""', b"\xff\xfe{}", b"\xef\xbb\xbf{}",
    b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b"1e999", b"-", b'{"schema":1,"schema":1}',
    b"9" * 5000, b'{"schema": ' + b"9" * 5000 + b"}",
)  # fmt: skip
"""Files that are hardly JSON."""


def damaged_value(value, rng):
    """Return a deep copy of JSON values with one to three nodes changed, removed or added."""
    holder = {"root": copy.deepcopy(value)}
    for _ in range(rng.randint(1, 3)):
        parent, key = rng.choice(list(_places(holder)))
        action = rng.random()
        if action < 0.6:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
        elif action < 0.8 and parent is not holder:
            del parent[key]
        elif isinstance(parent[key], dict):
            parent[key][rng.choice(["unknown", "", "schema", "__class__"])] = rng.choice(VALUES)
        elif isinstance(parent[key], list):
            parent[key] += parent[key][:1] or [None]
        else:
            parent[key] = [parent[key]]
    return holder["root"]


def damaged_json(value, rng):
    """Return the bytes of JSON that was damaged as values or as text."""
    if rng.random() < 0.1:
        return rng.choice(TEXTS)
    text = json.dumps(damaged_value(value, rng)).encode("utf-8", "surrogatepass")
    return text if rng.random() < 0.7 else damaged_bytes(text, rng)


def damaged_bytes(content, rng):
    """Return a file's bytes cut off, with bytes changed, taken out or put in."""
    data = bytearray(content)
    action = rng.random()
    if action < 0.3:
        return bytes(data[: rng.randrange(len(data) + 1)])
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        if action < 0.7 and at < len(data):
            data[at] = rng.randrange(256)
        elif action < 0.85:
            del data[at : at + rng.randint(1, 64)]
        else:
            data[at:at] = rng.randbytes(rng.randint(1, 64))
    return bytes(data)


def _places(node):
    """Yield every (container, key) below a node."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in list(items):
        yield node, key
        if isinstance(child, (dict, list)):
            yield from _places(child)


def survives(read, content, where):
    """Call `read(content)`, whose only error may be an `InputError` of one line; True if none.

    Any other exception is let through, with `where` to find it again.
    """
    try:
        read(content)
    except InputError as error:
        assert str(error) and "\n" not in str(error), f"{where}: {error!r}"
        return False
    except Exception as error:
        raise AssertionError(f"{where} on {content[:200]!r}: {error!r}") from error
    return True
