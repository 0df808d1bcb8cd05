"""Published weights by open_clip tag: from the local cache, else from the network."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
from open_clip import list_pretrained_tags_by_model
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from zsad.errors import InputError

_PROBE_S = 5.0


def tag_config(name: str, tag: str) -> Mapping[str, Any]:
    """Return open_clip's entry for the weights `tag` of the model `name`.

    Raises:
        InputError: The model has no such tag; the line lists those it has.
    """
    config: Mapping[str, Any] = get_pretrained_cfg(name, tag)
    if not config:
        tags = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise InputError(
            f"'{tag}' is neither a file nor weights that open_clip lists for '{name}': give the "
            f"path to a weights file, 'random', or one of its tags ({tags})"
        )
    return config


def fetch_tag(name: str, tag: str) -> Path:
    """Return the weights file of a tag, downloading it where the cache does not hold it.

    Raises:
        InputError: No such tag, or no network; the line says what to fetch and how to pass it.
    """
    config = tag_config(name, tag)
    cached = _cached(config)
    if cached is not None:
        return cached
    # huggingface_hub retries an unreachable host for most of a minute before it gives up.
    if not _reachable(config):
        raise _cannot_fetch(name, tag, config, "no network")
    try:
        return Path(download_pretrained(dict(config)))
    except Exception as error:  # the hub, urllib and the file system each raise their own kinds
        raise _cannot_fetch(name, tag, config, type(error).__name__) from error


def _cached(config: Mapping[str, Any]) -> Path | None:
    repository, filename = _hub_file(config)
    names = (filename,) if filename else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    for candidate in names if repository else ():
        found = huggingface_hub.try_to_load_from_cache(repository, candidate)
        if isinstance(found, str):
            return Path(found)
    return None


def _hub_file(config: Mapping[str, Any]) -> tuple[str, str]:
    repository, _, filename = config.get("hf_hub", "").rpartition("/")
    return repository, filename


def _reachable(config: Mapping[str, Any]) -> bool:
    if urllib.request.getproxies():
        return True
    endpoint = huggingface_hub.constants.ENDPOINT if config.get("hf_hub") else config["url"]
    parsed = urllib.parse.urlparse(endpoint)
    port = parsed.port or (80 if parsed.scheme == "http" else 443)
    try:
        socket.create_connection((parsed.hostname, port), timeout=_PROBE_S).close()
    except OSError:
        return False
    return True


def _cannot_fetch(name: str, tag: str, config: Mapping[str, Any], reason: str) -> InputError:
    repository, _ = _hub_file(config)
    where = config.get("url") or f"https://huggingface.co/{repository}"
    return InputError(
        f"cannot download the weights '{tag}' of '{name}' ({reason}): fetch {where} on a machine "
        "with network and pass the path of the file as --pretrained"
    )
