"""One unit by all methods: planted units get their concepts, and what is absent says why."""

from dataclasses import replace

import pytest
import torch
from pytest import approx
from support.reference_dissection import LABELS, Made, small_net
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.data import ResizedImages, Subset
from cnnvis_lab.data.images import Normalization
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.lab import cli, figures
from cnnvis_lab.methods import deep_generator, net2vec, training_evolution, unit_profile
from cnnvis_lab.methods.net2vec import Probes
from cnnvis_lab.methods.unit_profile import Unavailable, history, layer

SIDE, COUNT = 32, 60
DOG, BLUE = (
    next(number for number, label in LABELS.items() if label.name == name)
    for name in ("dog", "blue")
)
DOGS = torch.tensor([2, 1, 3])
THIRDS = ([n for n in range(COUNT) if n % 3 < 2], [n for n in range(COUNT) if n % 3 == 2])
pytestmark = pytest.mark.usefixtures("one_thread")


def world() -> Made:
    """Black pictures; 18 show a red dog of two by two label pixels, 18 others something blue."""
    pictures, maps = torch.zeros(COUNT, 3, SIDE, SIDE), torch.zeros(COUNT, 1, 16, 16).int()
    drawn = torch.Generator().manual_seed(1)
    for number in range(36):
        y, x = torch.randint(0, 14, (2,), generator=drawn).tolist()
        channel, label = (0, DOG) if number < 18 else (2, BLUE)
        pictures[number, channel, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] = 1 - number / 100
        maps[number, 0, y : y + 2, x : x + 2] = label
    order = torch.randperm(COUNT, generator=drawn)
    return Made(pictures[order], maps[order], dict(LABELS))


def planted() -> models.Model:
    """Unit 0 of the first layer is the red of every second pixel, unit 1 the blue, 2 never on."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, 3, 1, stride=2, bias=False)
    first.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [-1.0, -1, -1]])[..., None, None]
    tail = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net = nn.Sequential(first, nn.ReLU(), *tail, nn.Linear(4, 2))
    plain = Normalization((0.0,) * 3, (1.0,) * 3)
    return models.load(net, input_size=SIDE, normalization=plain, classes=("cat", "dog"))


@pytest.fixture(scope="module")
def known() -> unit_profile.LayerAnalysis:
    return unit_profile.analyze_layer(planted(), "1", world(), least_learned=3, min_images=3)


def test_a_planted_unit_has_its_concept_with_an_iou_of_one(known):
    for unit, (name, kind) in enumerate([("dog", "object"), ("blue", "color")]):
        fits = known.fits(unit, 3)
        assert fits[0] == (name, kind, 1.0) and fits[1].iou == 0 and len(fits) == 3


def test_shares_are_weights_of_vectors_at_unit_length(known):
    probes = Probes(torch.tensor([[3.0, 4, 0], [0, -1, 0], [9, 0, 12]]), torch.zeros(3), DOGS)
    names = (("dog", "object"), ("blue", "color"), ("leg", "part"))
    score = torch.tensor([0.1, 0.2, 0.3])
    given = replace(known, vectors=layer.ConceptVectors(probes, score, names))
    told = [(share.concept, share.weight, share.place) for share in given.shares(0, 3)]
    assert told == [("dog", approx(0.6), 2), ("leg", approx(0.6), 2), ("blue", 0, 1)]
    told = [(share.concept, share.weight, share.score) for share in given.shares(1, 2)]
    assert told == [("dog", approx(0.8), approx(0.1)), ("leg", 0, approx(0.3))]


def test_vectors_are_learned_on_two_of_three_pictures_and_scored_on_the_third(known):
    data = world()
    parts = [Made(data.pictures[own], data.maps[own], data.labels) for own in THIRDS]
    train, other = net2vec.prepare(planted(), parts[0], [parts[1]], ["1"])
    concepts = net2vec.usable_concepts(train, other, least=3)
    probes = net2vec.segment(train, "1", concepts)
    torch.testing.assert_close(known.vectors.probes.weights, probes.weights)
    torch.testing.assert_close(known.vectors.score, net2vec.set_iou(other, "1", probes))
    assert [name for name, _ in known.vectors.names] == [train.concepts[c].name for c in concepts]


def test_its_strongest_pictures_are_bright_exactly_where_the_concept_is(known):
    data, top = world(), unit_profile.top_images(planted(), known, 0, 5)
    shown = (data.maps == DOG).flatten(1).any(1).nonzero()[:, 0]
    order = data.pictures[shown].amax((1, 2, 3)).argsort(descending=True)[:5]
    torch.testing.assert_close(top.pictures, data.pictures[shown[order]])
    torch.testing.assert_close(top.masks, (data.maps == DOG)[shown[order], 0])
    torch.testing.assert_close(top.activations, top.pictures.amax((1, 2, 3)))
    assert set(top.projections) == {"deconvnet", "guided"} and top.patches.shape[-2:] == (1, 1)
    for drawn in top.projections.values():  # of one pixel, what is red in it
        torch.testing.assert_close(drawn[:, 0, 0, 0], top.activations)
        assert not drawn[:, 1:].any()


def test_how_often_units_fire_is_counted(known):
    shown = [(world().maps == number).flatten(1).any(1).float().mean() for number in (DOG, BLUE)]
    torch.testing.assert_close(known.fires, torch.stack([*shown, torch.tensor(0.0)]))


def test_without_labels_the_parts_that_need_them_say_so():
    drawn = world().pictures
    pictures = ResizedImages("", SIDE, len(drawn), lambda numbers: drawn[numbers])
    for data in (pictures, Subset(pictures, range(20))):
        known = unit_profile.analyze_layer(planted(), "1", data)
        parts = [known.fits(0, 3), known.shares(0, 3)]
        top = unit_profile.top_images(planted(), known, 0, 2)
        parts.append(top.masks)
        assert all(part == Unavailable(layer.NO_LABELS) for part in parts)
        assert top.projections["guided"].shape == (2, 3, 1, 1)


def test_a_layer_without_maps_has_vectors_and_no_masks():
    known = unit_profile.analyze_layer(planted(), "logits", world(), least_learned=3)
    assert "no mask" in known.fits(0, 1).why
    shares = known.shares(1, 2)
    assert {share.concept for share in shares} <= {"dog", "blue"}
    assert all(0 <= share.score <= 1 for share in shares)


def test_too_few_pictures_teach_no_vector(known):
    few = unit_profile.analyze_layer(planted(), "1", Subset(world(), range(2)))
    assert "too few" in few.shares(0, 1).why
    some = unit_profile.analyze_layer(planted(), "1", world(), least_learned=50)
    assert "no concept is shown by 50" in some.shares(0, 1).why


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("1:3", InputError, "unit 3 of 1: it has 3; expected 0 to 2"),
        ("1", InputError, "expected layer:unit"),
        ("one:1", NameNotFound, "no layer named 'one'"),
    ],
)
def test_a_wrong_target_is_told(target, error, says):
    with pytest.raises(error, match=says):
        unit_profile.resolve_unit(planted(), target)


def test_an_own_network_has_neither_generator_nor_training():
    assert "no generator" in unit_profile.generator_for(planted(), world()).why
    assert "no training of these weights" in unit_profile.shipped_history(planted()).why
    with pytest.raises(FileError, match="no recording"):
        unit_profile.recorded_history("nowhere")


def test_a_recorded_unit_is_followed_from_step_to_step(tmp_path):
    data, net = Subset(world(), range(COUNT)), small_net()
    view = models.load(small_net(9), input_size=SIDE)
    what = training_evolution.Observations(data, ["0"], units=0)
    with training_evolution.record(net, tmp_path, what, at=[0, 1, 2], view=view) as seen:
        for step in (1, 2):
            with torch.no_grad():
                net[0].weight.mul_(2.0)
            seen.step(step)
    model = models.load(net, input_size=SIDE)
    known = unit_profile.analyze_layer(model, "0", data, learn=False)
    watched = unit_profile.track(model, unit_profile.recorded_history(tmp_path), known)
    moments = unit_profile.unit_history(watched, 3, "dog")
    assert [moment.step for moment in moments] == [0, 1, 2]
    last = unit_profile.top_images(
        model, known, 3, history.IMAGES_PER_STEP, rules=[history.BACKWARD_RULE]
    )
    close = {"rtol": 2e-3, "atol": 2e-3}  # weights are kept in 16 bit
    torch.testing.assert_close(moments[-1].patches, last.patches)
    torch.testing.assert_close(moments[-1].projections, last.projections["guided"], **close)
    torch.testing.assert_close(moments[-1].activation, float(last.activations[0]), **close)
    assert moments[0].activation < moments[1].activation < moments[2].activation
    assert moments[-1].best.concept == known.fits(3, 1)[0].concept


def test_a_shipped_network_begins_as_its_recipe_says():
    model = models.load("alexnet_mini")
    training = unit_profile.shipped_history(model)
    assert list(training.weights) == [0] and training.last == 10 * 250
    given = models.load("alexnet_mini", weights="random")
    assert isinstance(unit_profile.shipped_history(given), Unavailable)
    known = unit_profile.analyze_layer(model, "CL1", SceneSet(HELD_OUT_SEED, 4), learn=False)
    before, after = unit_profile.track(model, training, known)
    assert after.known is known and after.view is model
    assert not torch.equal(before.view.kernels(), model.kernels())


@pytest.fixture(scope="module")
def story() -> unit_profile.UnitProfile:
    model, data = planted(), world()
    return unit_profile.profile(
        model,
        "0:0",
        data,
        painter=Unavailable("no generator is at hand"),
        training=unit_profile.TrainingHistory({0: planted().net.state_dict()}, 9, "both ends"),
        steps=4,
    )


def test_a_story_has_all_parts_and_says_in_a_line_what_was_found(story):
    assert str(story) == "Sequential 0:0 detects dog (object), IoU 1.000"
    assert (story.layer, story.unit, story.units, story.field) == ("0", 0, 3, (1, 1))
    assert story.kernel.flatten().tolist() == [1, 0, 0] and story.detects
    assert story.drawn.picture.shape == (3, 1, 1) and story.generated.why
    assert [moment.step for moment in story.life] == [0, 9]
    assert [moment.iou for moment in story.life] == [1.0, 1.0]
    other = replace(story, detects=False)
    assert "detects nothing; it fits best dog" in str(other)
    assert str(replace(story, concepts=Unavailable("none"))).endswith("0:0: none")
    silent = replace(other, concepts=tuple(one._replace(iou=0.0) for one in story.concepts))
    assert str(silent) == "Sequential 0:0 fits no concept"
    assert figures.unit._detection_text(silent) == "fits no concept"


def test_a_class_is_told_by_its_name():
    assert unit_profile.unit_class(planted(), "logits", 1) == "dog"
    assert unit_profile.unit_class(planted(), "0", 1) == ""


def test_a_figure_of_a_unit_has_the_same_bytes_twice(story):
    first, again = (figures.to_png(figures.unit.draw_profile(story)) for _ in range(2))
    assert first == again and first.startswith(b"\x89PNG")


def test_every_part_may_be_absent(story):
    parts = ("drawn", "generated", "concepts", "shares", "life")
    bare = replace(story, kernel=None, **{part: Unavailable(f"no {part}") for part in parts})
    gone = Unavailable("no masks"), Unavailable("no projections")
    top = replace(story.strongest, masks=gone[0], projections=gone[1])
    drawn = figures.unit.draw_profile(replace(bare, strongest=top))
    told = {text.get_text() for axes in drawn.axes for text in axes.texts}
    assert told == {"no projections", *(f"no {part}" for part in parts)}
    assert len(drawn.axes) == len(told) + len(top.pictures)


def test_what_is_absent_stands_in_its_place(story):
    why = "no generator is at hand"
    texts = [
        text.get_text() for axes in figures.unit.draw_profile(story).axes for text in axes.texts
    ]
    assert why in [" ".join(text.split()) for text in texts]
    assert "kernel" in texts and "dog" in texts


def test_a_longer_life_has_a_picture_a_step(story):
    drawn = figures.unit.draw_profile(replace(story, life=story.life * 4))
    ticks = [tick.get_text() for tick in drawn.axes[-1].get_xticklabels()]
    assert ticks == ["0", "9"] * 4
    assert sum("step 9" in text.get_text() for text in drawn.texts) == 4


MISTAKES = {
    "unit alexnet_mini CL5:80": "unit 80 of CL5: it has 80; expected 0 to 79",
    "unit alexnet_mini CL5": "expected layer:unit",
    "unit alexnet_mini CL6:1": "no layer named 'CL6'; did you mean fc6 or CL5",
    "unit alexnet_mni CL5:1": "no network named 'alexnet_mni'",
    "unit alexnet_mini CL5:1 --weights none.pt": "no weights file at none.pt",
    "unit alexnet_mini CL5:1 --record nowhere": "no recording of a training in nowhere",
    "unit alexnet_mini CL5:1 --data nowhere": "nowhere",
    "unit alexnet_mini CL5:1 --images 0": "'--images': 0 is not in the range x>=1",
    "unit alexnet_mini CL5:1 --threads 0": "'--threads': 0 is not in the range x>=1",
    "unit alexnet_mini": "Missing argument 'LAYER:UNIT'",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_every_mistake_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and MISTAKES[command] in printed.err
    assert list(tmp_path.iterdir()) == []


def test_the_command_draws_a_unit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deep_generator, "STEPS", 2)
    words = ["unit", "alexnet_mini", "CL1:3", "--images", "12", "--threads", "1", "--out"]
    assert cli.main([*words, str(tmp_path)]) == 0
    printed, progress = capsys.readouterr()
    assert "4/4" in progress.splitlines()[-1]
    file = tmp_path / "alexnet_mini_CL1_3.png"
    assert printed.startswith("alexnet_mini CL1:3 detects ") and printed.count("\n") == 1
    assert printed.endswith(f"; see {file}\n") and file.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
