"""What an atlas is made of by names and numbers, so that other processes can open the same."""

from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .... import models
from ....core import LabError, choose, files, hooks, prefixed
from ....core.backward import RULES
from ....data import ImageSet, LabelledSet, broden, has_labels, open_images, open_labelled
from ....methods import unit_profile
from ....methods.dissection import Spread
from ....methods.unit_profile import LayerScan
from ....models import Model
from ... import premises
from ...premises import Premises
from ...reproducibility import make_reproducible
from ...shared_scenes import SharedScenes
from . import chunks
from .plan import CODE, DEFAULT_STEPS, Chunk, Subject, check_folder, make_plan


class Source(NamedTuple):
    """Names and numbers that determine an atlas.

    Attributes:
        model: name of the network, see `models.load`.
        model_options: further arguments of `models.load`.
        data: folder of images; empty for synthetic scenes.
        images: number of images, at most.
        skip_damaged: leave damaged images out.
        layers: the layers; empty for all.
        unit_limit: number of units of each layer; None for all.
        steps: steps of the activation maximization.
        rule: backward rule of the projections.
        threads: number of CPU threads.
    """

    model: str
    model_options: tuple[tuple[str, Any], ...] = ()
    data: str = ""
    images: int = 1600
    skip_damaged: bool = False
    layers: tuple[str, ...] = ()
    unit_limit: int | None = None
    steps: int = DEFAULT_STEPS
    rule: str = "deconvnet"
    threads: int = 2


@lru_cache(maxsize=2)
def open_subject(
    source: Source, lazy: bool = False, folder: str = "", out: Path | None = None
) -> Subject:
    """Open the network and the images; names are checked before images are drawn or read.

    Args:
        source: their names.
        lazy: draw synthetic scenes when they are first used.
        folder: where processes of this machine share them, see `open_labelled`.
        out: folder for the atlas; None to check none.

    Raises:
        NameNotFound: no such network, layer or backward rule.
        FileError: a file or folder that is missing or damaged.
        InputError: a device that does not exist, no images, or the atlas of another network.
    """
    make_reproducible(0, source.threads)
    model = models.load(source.model, **dict(source.model_options))
    layers = dict.fromkeys(source.layers or unit_profile.all_layers(model))
    for layer in layers:
        hooks.resolve(model, layer)
    choose("backward rule", source.rule, RULES)
    if out:
        check_folder(out, model.card.name)
    size, count = model.card.input_size, source.images
    if has_labels(source.data):
        data = open_labelled(source.data, size, count, lazy=lazy, folder=folder)
    else:
        data = open_images(source.data, size, count, skip_damaged=source.skip_damaged)
    content = files.digest(broden.resolve(source.data)) if source.data else "synthetic scenes"
    key = f"{content} {size} {len(data)}"
    return Subject(model, data, key, tuple(layers), source.unit_limit, source.steps, source.rule)


class SharedSource(NamedTuple):
    """What processes open that share the work on an atlas.

    Attributes:
        source: what the atlas is made of.
        needed: what must be equal there.
        scenes: where they share synthetic scenes.
    """

    source: Source
    needed: Premises
    scenes: SharedScenes

    def open(self) -> Subject:
        """Open the network and the images.

        Raises:
            LabError: something is missing or different here; the message names worker and file.
        """
        premises.check(self.needed)
        with prefixed(premises.worker_name()):
            return open_subject(self.source, True, self.scenes.here())

    def __call__(self) -> tuple[Model, ImageSet | LabelledSet]:
        """Open the network and the images in a process that runs tasks, see `Spread`."""
        subject = self.open()
        return subject.model, subject.data


def spread_on(executor: Executor, source: Source, scenes: SharedScenes) -> Spread:
    """Return who shares the work on an atlas that this process has opened.

    Args:
        executor: runs the tasks, anywhere, and in any order.
        source: what the atlas is made of.
        scenes: where tasks share synthetic scenes.
    """
    data = broden.resolve(source.data) if source.data else ""
    shared = SharedSource(source, premises.find_premises(CODE, data), scenes)
    return Spread(executor, shared, scenes.here)


def draw_chunk(shared: SharedSource, chunk: Chunk, scan: dict[str, Any]) -> dict[str, bytes]:
    """Draw a chunk in a process that shares nothing with the one that has planned it.

    Args:
        shared: what this process opens.
        chunk: the units.
        scan: scan of their layer, as JSON stores it.

    Returns:
        File -> its content, see `chunks.draw`.

    Raises:
        LabError: what this process opens is missing, or other than what was planned.
    """
    subject = shared.open()
    with prefixed(premises.worker_name()):
        plan = make_plan(subject, Path("nowhere"))
        if chunk.layer not in plan.scans or plan.chunk(*chunk[:3]) != chunk:
            raise LabError(f"{shared.source.model} differs there; make its code and weights equal")
    torch.set_num_threads(shared.source.threads)  # tasks of another command may have changed it
    return chunks.draw(plan, chunk, LayerScan.from_json(scan))
