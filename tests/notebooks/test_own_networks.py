"""The notebooks draw their figures for networks and images that users bring."""

from pathlib import Path

import pytest
import torch
from support import lessons, own_networks
from torchvision.transforms.functional import to_pil_image

from cnnvis_lab import models
from cnnvis_lab.lab import notebooks

KNOWN = notebooks.read_all()
NETWORKS = {
    "lenet": {"input_size": 28, "channels": 1},
    "CifarResNet": {"input_size": 32, "classes": [f"thing {n}" for n in range(10)]},
}
# What only networks of the synthetic scenes have, by notebook: a sentence takes its place.
LEFT_OUT = {
    "00": {"START-dissection"},
    "02": {*KNOWN["02_deep_generator"].figures} - {"F3"},  # needs a generator
    "03": {"DN-correspondence"},
    "05": {"INV-bottleneck", "INV-factors"},
}
# Maps that are added to others cannot be removed.
NOT_PRUNED = {("06", "CifarResNet"): {"PE-tuned"}}


@pytest.fixture
def photographs(tmp_path) -> str:
    """A plain folder with a few images, as unlike the scenes as noise is."""
    (tmp_path / "mine").mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(40):
        image = to_pil_image(torch.rand(3, 40, 36, generator=generator))
        image.save(tmp_path / "mine" / f"{number}.png")
    return str(tmp_path / "mine")


def _draw(name: str, network: str, out: Path, **given: object) -> dict:
    """Run a lesson for one of the networks; return its record."""
    weights = own_networks.weights_of(getattr(own_networks, network)(), out / "own.pth")
    own = {"MODEL": f"{own_networks.__file__}:{network}", "WEIGHTS": weights}
    return lessons.draw(KNOWN[name], out, **own, MODEL_OPTIONS=NETWORKS[network], **given)


def _check(name: str, network: str, out: Path, **given: object) -> None:
    record = _draw(name, network, out, **given)
    assert set(record["figures"]) == set(KNOWN[name].figures)
    assert set(record["claims"]) == {claim.id for claim in KNOWN[name].claims}
    captions = {id: figure["caption"] for id, figure in record["figures"].items()}
    left_out = {id for id, caption in captions.items() if caption.startswith("Left out: ")}
    assert left_out == LEFT_OUT.get(name[:2], set()) | NOT_PRUNED.get((name[:2], network), set())
    for id in left_out:
        for claim in KNOWN[name].claims_by_figure[id]:
            assert record["claims"][claim]["measured"] is None
            assert captions[id].endswith(record["claims"][claim]["note"])
    read = [Path(path).name for path in record["inputs"]]
    assert not {f"{shipped}.safetensors" for shipped in models.shipped()} & {*read}


def test_a_lesson_shows_a_gray_network_and_the_users_images_only(tmp_path, photographs):
    _check("03_deconvnet", "lenet", tmp_path, DATA=photographs)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", [n for n in KNOWN if n[:2] not in ("04", "07", "08")])
def test_every_lesson_runs_without_and_with_the_users_images(name, network, tmp_path, photographs):
    for folder, source in (("given", photographs), ("default", "")):
        (tmp_path / folder).mkdir()
        _check(name, network, tmp_path / folder, DATA=source)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["07_dissection", "08_net2vec"])
def test_lessons_on_labels_run_and_compare_any_networks(name, network, tmp_path):
    weights = own_networks.weights_of(getattr(own_networks, network)(), tmp_path / "other.pth")
    other = f"{own_networks.__file__}:{network}={weights}"
    (tmp_path / "out").mkdir()
    record = _draw(name, network, tmp_path / "out", NETWORKS=[other])
    assert set(record["figures"]) == set(KNOWN[name].figures)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_trained_and_recorded_on_the_users_classes(network, tmp_path, photographs):
    for number, file in enumerate(sorted(Path(photographs).iterdir())):
        folder = tmp_path / "classes" / f"thing {number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        file.rename(folder / file.name)
    own = {"MODEL": f"{own_networks.__file__}:{network}", "MODEL_OPTIONS": NETWORKS[network]}
    classes = str(tmp_path / "classes")
    lesson = KNOWN["04_training_evolution"]
    record = lessons.draw(lesson, tmp_path / "out", **own, TRAIN_DATA=classes, EPOCHS=2)
    assert set(record["figures"]) == set(lesson.figures)
    left_out = [f for f in record["figures"].values() if f["caption"].startswith("Left out: ")]
    assert len(left_out) <= 1  # detectors need labels of pixels
