"""What a dissection is made of by names and numbers, so that other processes can open the same."""

from functools import lru_cache
from typing import Any, NamedTuple

from .. import models
from ..core import prefixed
from ..data import LabelledSet, broden, open_labelled
from ..models import Model
from . import premises
from .premises import Premises
from .shared_scenes import SharedScenes

CODE = "from cnnvis_lab.data import open_labelled\nfrom cnnvis_lab.methods import dissection\n"
CODE += "open_labelled, dissection.dissect\n"


class DissectionSource(NamedTuple):
    """The network and the images of a dissection.

    Attributes:
        model: name of the network, see `models.load`.
        model_options: further arguments of `models.load`.
        data: folder in the Broden format; empty for synthetic scenes.
        images: number of images, at most.
        split: part of the folder.
        skip_damaged: leave damaged images out.
        premises: what must be equal where tasks run.
        scenes: where they share synthetic scenes.
    """

    model: str
    model_options: tuple[tuple[str, Any], ...]
    data: str
    images: int
    split: str
    skip_damaged: bool
    premises: Premises
    scenes: SharedScenes

    def __call__(self) -> tuple[Model, LabelledSet]:
        """Open them in a process that runs tasks, see `dissection.Spread`.

        Raises:
            LabError: something is missing or different here; the message names worker and file.
        """
        return _open(self)


@lru_cache(maxsize=2)
def _open(source: DissectionSource) -> tuple[Model, LabelledSet]:
    premises.check(source.premises)
    with prefixed(premises.worker_name()):
        model = models.load(source.model, **dict(source.model_options))
        size = model.card.input_size
        data = open_labelled(
            source.data,
            size,
            source.images,
            source.split,
            skip_damaged=source.skip_damaged,
            lazy=True,
            folder=source.scenes.here(),
        )
    return model, data


def spread_source(
    args: Any, network: dict[str, Any], images: int, scenes: SharedScenes
) -> DissectionSource:
    """Return what the tasks of a command open; it has opened the same, and is compared with.

    Args:
        args: the values of the command.
        network: the arguments of `models.load` besides the name.
        images: number of images, at most.
        scenes: where tasks share synthetic scenes.
    """
    data = str(broden.resolve(args.data).resolve()) if args.data else ""
    found = premises.find_premises(CODE, data)
    options = tuple(network.items())
    return DissectionSource(
        args.model, options, data, images, args.split, args.skip_damaged, found, scenes
    )
