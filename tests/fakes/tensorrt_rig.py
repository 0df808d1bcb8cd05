"""What the tests of the native backend share."""

import numpy as np

from zsad_export.engine import build_native_engine

RELEASES = ("10.3.0", "11.4.0.106")


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 12, 3), dtype=np.uint8)


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def build_for(install, artifact, version, options):
    install(version=version)
    return build_native_engine(artifact, options=options)
