"""The training loop: seeded, saved after every epoch, resumable to the bit.

Every epoch starts by seeding itself, so that what it does follows from the seed and its number
alone: going on after epoch n needs the optimiser's state and the tensors, no generator's.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from zsad.data import Dataset
from zsad.errors import InputError, ZsadError
from zsad.schema import to_json, write_json
from zsad_train.batches import TrainingSamples, collate, preprocess_spec, to_device
from zsad_train.checkpoint import save_checkpoint, trained_tensors
from zsad_train.config import TrainConfig
from zsad_train.epochs import EpochRecord, Progress, curves_path, ignore
from zsad_train.feature_cache import CachedSamples, FeatureCache
from zsad_train.methods.base import Batch, Method
from zsad_train.precision import autocast
from zsad_train.validation import validate


class Interrupted(ZsadError):
    """Ctrl-C during training; the last finished epoch is on disk."""

    exit_code = 130


Report = Callable[[EpochRecord], None]
Samples = TrainingSamples | CachedSamples


def fit(
    method: Method,
    data: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    val: Dataset | None = None,
    progress: Progress | None = None,
    job: Mapping[str, Any] | None = None,
    report: Report = ignore,
    cache: FeatureCache | None = None,
) -> tuple[EpochRecord, ...]:
    """Train `method` in place; after each epoch write the checkpoint `out` and its curves.

    Args:
        method: The method; it stays on the training device.
        data: Training samples.
        config: How to optimise.
        out: The checkpoint.
        val: Validation samples, scored after every epoch.
        progress: Where to go on from; None starts.
        job: Plain values that describe the run, kept in the checkpoint.
        report: Called with the record of every epoch once it is on disk.
        cache: Where features of the training data are kept, for a method with a constant tower;
            it changes no result.

    Returns:
        The record of every epoch, those before a resume included.

    Raises:
        InputError: The loss is not a number, or a file cannot be written.
        Interrupted: Ctrl-C.
    """
    progress = progress or Progress()
    method.to(torch_device(config.device))
    method.backbone.vision.grad_checkpointing = config.grad_checkpointing
    optimizer = make_optimizer(method, config)
    if progress.optimizer is not None:
        optimizer.load_state_dict(dict(progress.optimizer))
    records = progress.records
    try:
        samples = _samples(method, data, config, cache)
        if not records:
            with autocast(torch_device(config.device), config.amp):
                method.memorise(_every_batch(method, samples, config))
        for epoch in range(len(records) + 1, config.epochs + 1):
            started = time.perf_counter()
            loss = _train_epoch(method, optimizer, samples, config, epoch)
            scores = validate(method, val, config.batch_size) if val is not None else {}
            record = EpochRecord(epoch, loss, scores, time.perf_counter() - started)
            curves = {"job": to_json(job or {}), "records": to_json([*records, record])}
            save_checkpoint(out, method, {**curves, "optimizer": optimizer.state_dict()})
            records = (*records, record)  # not before it is on disk, for the message below
            write_json(curves_path(out), curves)
            report(record)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on(len(records), out)) from None
    finally:
        method.backbone.vision.grad_checkpointing = False
    return records


def make_optimizer(method: Method, config: TrainConfig) -> torch.optim.Adam:
    """Return Adam over the method's parameter groups, each with its own learning rate."""
    groups = [
        {"params": parameters, "lr": getattr(config, f"lr_{name}")}
        for name, parameters in method.parameter_groups().items()
    ]
    return torch.optim.Adam(groups, betas=config.betas)


def torch_device(name: str) -> torch.device:
    """Return the device called `name`, where `auto` is CUDA if there is any.

    Raises:
        InputError: Torch cannot use it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{name}' cannot be used ({error}): use cpu") from None
    return torch.device(name)


def _train_epoch(
    method: Method,
    optimizer: torch.optim.Adam,
    samples: Samples,
    config: TrainConfig,
    epoch: int,
) -> dict[str, float]:
    torch.manual_seed(config.seed + epoch)
    method.begin_epoch(epoch)
    sums: defaultdict[str, float] = defaultdict(float)
    loader = _loader(samples, config)
    with tqdm(loader, desc=f"epoch {epoch}/{config.epochs}", unit="batch", disable=None) as bar:
        for batch in bar:
            terms = _step(method, optimizer, batch, config)
            for name, value in terms.items():
                sums[name] += value * len(batch.labels)
            if lost := [name for name, value in terms.items() if not math.isfinite(value)]:
                raise InputError(_diverged(lost, epoch))
            bar.set_postfix(loss=f"{terms['total']:.4f}", refresh=False)
    # A finite loss can still have had a gradient that was not.
    if ruined := [n for n, t in trained_tensors(method).items() if not t.isfinite().all()]:
        raise InputError(_diverged(ruined, epoch))
    return {name: total / len(samples) for name, total in sums.items()}


def _step(
    method: Method, optimizer: torch.optim.Adam, batch: Batch, config: TrainConfig
) -> dict[str, float]:
    device = next(method.parameters()).device
    with autocast(device, config.amp):
        terms: dict[str, Tensor] = method.loss(to_device(batch, device))
    total = torch.stack(list(terms.values())).sum()
    if total.isfinite():  # the caller stops otherwise, with the weights as they were
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: term.item() for name, term in {**terms, "total": total}.items()}


def _samples(
    method: Method, data: Dataset, config: TrainConfig, cache: FeatureCache | None
) -> Samples:
    spec = preprocess_spec(method.backbone.info)
    samples = TrainingSamples(data, spec, method.words.classes, method.words.types)
    if cache is None:
        return samples
    return cache.open(method, samples, batch_size=config.batch_size, amp=config.amp)


def _every_batch(method: Method, samples: Samples, config: TrainConfig) -> Iterator[Batch]:
    """Yield the training data once, in order; nothing is read before the first is asked for."""
    device = next(method.parameters()).device
    loader = _loader(samples, config, shuffle=False)
    for batch in tqdm(loader, desc="memory", unit="batch", disable=None):
        yield to_device(batch, device)


def _loader(samples: Samples, config: TrainConfig, *, shuffle: bool = True) -> DataLoader[Batch]:
    return DataLoader(
        samples,
        batch_size=config.batch_size,
        shuffle=shuffle,
        num_workers=config.workers,
        collate_fn=collate,
        worker_init_fn=_modest_worker,
    )


def _modest_worker(_: int) -> None:
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training process's to answer
    # There are as many workers as there is room for; each is one thread, as it is for PyTorch.
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(0)


def _diverged(names: Sequence[str], epoch: int) -> str:
    kept = f"epoch {epoch - 1} is kept" if epoch > 1 else "nothing was written"
    return (
        f"training left the numbers ({names[0]} is not a number in epoch {epoch}): lower the "
        f"learning rates, or use --amp none; {kept}"
    )


def _how_to_go_on(done: int, out: Path) -> str:
    if done == 0:
        return "stopped before the first epoch was done; nothing was written"
    return f"stopped; epoch {done} is saved, go on with: zsad-train --out {out} --resume"
