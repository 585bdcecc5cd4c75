"""Summaries of recorded trainings, and recommendations whether to continue them.

The survey, section 4, uses such observations to decide whether a training is finished, too short,
or failing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ...core import Float, Images, image_metrics
from ...data import ClassFolders
from ...data.scenes import SceneSet
from ...models import Model
from ...models.training import classifier, own_classifier
from .curves import dead_fraction
from .similarity import similarity
from .store import Evolution, restore


class Recommendation(NamedTuple):
    """Whether to continue a training.

    Attributes:
        action: "continue", "stop", or "restart" with other settings.
        reason: the reason in a few words.
    """

    action: str
    reason: str


def recommend(
    accuracy: Float[Tensor, " steps"],
    similarity_to_previous: Float[Tensor, "later layers"],
    dead: Float[Tensor, "steps layers"],
    *,
    min_increase: float = 0.01,
    settled_similarity: float = 0.98,
    patience: int = 2,
    dead_limit: float = 0.5,
) -> Recommendation:
    """Recommend from the curves so far whether to continue a training.

    Args:
        accuracy: accuracy on held-out images, at each recorded step.
        similarity_to_previous: similarity of each layer to the previous recorded step, from the
            second step on.
        dead: fraction of dead feature maps of each layer, at each recorded step.
        min_increase: increase in accuracy that justifies continuing.
        settled_similarity: similarity from which a layer counts as converged.
        patience: number of recorded steps after which to stop, if the accuracy has not increased
            that much and all layers have converged.
        dead_limit: fraction of dead maps in any layer from which the learning rate counts as too
            high.

    Returns:
        "restart" if too many maps are dead, "stop" if nothing changes any more, else "continue".
    """
    most_dead = float(dead[-1].max())
    if most_dead >= dead_limit:
        reason = f"{most_dead:.0%} of a layer's maps are dead; take smaller steps"
        return Recommendation("restart", reason)
    if len(accuracy) <= patience:
        return Recommendation("continue", "too few steps to judge")
    increase = float(accuracy[-patience:].max() - accuracy[:-patience].max())
    if increase >= min_increase:
        return Recommendation("continue", f"accuracy rose by {increase:.3f}")
    least = float(similarity_to_previous[-patience:].min())
    if least < settled_similarity:
        return Recommendation("continue", f"a layer still changes, similarity {least:.2f}")
    return Recommendation("stop", "neither accuracy nor any layer changes")


def recommendations(view: Model, evolution: Evolution, images: Images) -> dict[int, Recommendation]:
    """Return the recommendation at each step of a recorded training, given the steps so far.

    Args:
        view: a network of the recorded architecture; its weights are overwritten.
        evolution: the recording, with the metric "accuracy".
        images: (n, 3, h, w) fixed images in [0, 1], on which activations are compared.

    Raises:
        InputError: the accuracy was not recorded.
    """
    accuracy, dead = evolution.metric("accuracy"), dead_fraction(evolution)
    alike = similarity(view, evolution, images, reference="previous").cka
    return {
        step: recommend(accuracy[: i + 1], alike[:i], dead[: i + 1])
        for i, step in enumerate(evolution.steps)
    }


@dataclass(frozen=True)
class RunSummary:
    """The network at the end of a recorded training, and the recommendations made during it.

    Attributes:
        kernels: (units, 3, h, w) kernels of the first convolution.
        kernel_noise: fraction of the kernels' energy in high frequencies, mean over the kernels.
        dead_fraction: fraction of dead feature maps in the layer that has most of them.
        accuracy: fraction of held-out images that are classified correctly.
        training_accuracy: the same for training images.
        recommendations: step -> recommendation, given the steps so far.
    """

    kernels: Float[Tensor, "units c h w"]
    kernel_noise: float
    dead_fraction: float
    accuracy: float
    training_accuracy: float
    recommendations: dict[int, Recommendation]

    @property
    def overfitting(self) -> float:
        """The accuracy on training images minus that on held-out images."""
        return self.training_accuracy - self.accuracy

    @property
    def restart_recommended(self) -> bool:
        """Whether a restart was recommended at any step."""
        return any(one.action == "restart" for one in self.recommendations.values())


class RunComparison:
    """A good training, and failing ones.

    Args:
        summaries: name -> summary; the good one is called "good". May be empty.
    """

    def __init__(self, summaries: Mapping[str, RunSummary]) -> None:
        self.summaries = dict(summaries)

    def excess(self, quantity: str, name: str) -> float | None:
        """Return a quantity of a failing run minus that of the good one; None without the runs.

        Args:
            quantity: an attribute of `RunSummary`.
            name: of the failing run.
        """
        if name not in self.summaries:
            return None
        return getattr(self.summaries[name], quantity) - getattr(self.summaries["good"], quantity)

    def only_restart(self, name: str) -> bool | None:
        """Return whether a restart was recommended for one run, and not for the good one.

        Args:
            name: of the failing run.
        """
        if name not in self.summaries:
            return None
        good = self.summaries["good"].restart_recommended
        return self.summaries[name].restart_recommended and not good


def summarize(
    view: Model,
    evolution: Evolution,
    probes: Images,
    training_images: SceneSet | ClassFolders,
) -> RunSummary:
    """Summarize a recorded training.

    Args:
        view: a network of the recorded architecture; its weights are overwritten.
        evolution: the recording, with the metric "accuracy".
        probes: (n, 3, h, w) fixed images in [0, 1], on which activations are compared.
        training_images: images that the network was trained on.

    Raises:
        InputError: the accuracy was not recorded.
    """
    by_step = recommendations(view, evolution, probes)
    final = evolution.snapshots[-1]
    return RunSummary(
        kernels=final.kernels,
        kernel_noise=float(image_metrics.high_frequency_fraction(final.kernels).mean()),
        dead_fraction=float(dead_fraction(evolution)[-1].max()),
        accuracy=float(evolution.metric("accuracy")[-1]),
        training_accuracy=measure_accuracy(restore(view, final), training_images),
        recommendations=by_step,
    )


def measure_accuracy(model: Model, images: SceneSet | ClassFolders) -> float:
    """Return the fraction of images that a network classifies correctly."""
    if isinstance(images, ClassFolders):
        return own_classifier.accuracy(model, images)
    return classifier.accuracy(model.net, images)
