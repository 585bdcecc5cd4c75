"""The synthetic scenes: exact labels, planted parts, no shortcuts to the class."""

import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import current_process

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from cnnvis_lab.data import scenes
from cnnvis_lab.data.scenes import SceneSet, dataset
from cnnvis_lab.data.scenes.backdrops import SCENE_NAMES
from cnnvis_lab.data.scenes.canvas import Canvas, Labels, Light, Pose
from cnnvis_lab.data.scenes.objects import PARTS
from cnnvis_lab.data.scenes.shapes import below, block, cut, ellipse, polygon, ring, stroke, union
from cnnvis_lab.data.scenes.surfaces import COLORS, TEXTURES, plain, random_surface, with_texture
from cnnvis_lab.data.scenes.world import COMPANION_RATE, STRAY_COMPANION_RATE

LIGHT = Light(-0.5, -0.5, 0.7, 0.6, (1, 1, 1))


@pytest.fixture(scope="module")
def scene_images() -> list[scenes.SceneImage]:
    return [scenes.draw(7, index) for index in range(320)]


def test_the_same_seed_and_index_give_the_same_bytes_and_others_do_not():
    one, same, other = scenes.draw(3, 5), scenes.draw(3, 5), scenes.draw(4, 5)
    assert one.image.tobytes() == same.image.tobytes()
    assert one.labels["part"].tobytes() == same.labels["part"].tobytes()
    assert one.objects == same.objects
    assert one.image.tobytes() != other.image.tobytes()


def test_the_scenes_contain_the_stated_variety():
    assert len(scenes.CLASS_NAMES) >= 12 and len(PARTS) >= 20 and len(COLORS) == 11
    assert len(TEXTURES) >= 8 and len(SCENE_NAMES) >= 8
    assert len(scenes.LABELS["material"]) >= 6 and len(scenes.COMPANIONS) == 2


def test_every_label_number_is_in_its_table_and_every_label_occurs(scene_images):
    for category, names in scenes.LABELS.items():
        if category == "scene":
            found = {scene_image.scene for scene_image in scene_images}
        else:
            found = set(np.unique([p.labels[category] for p in scene_images]).tolist()) - {0}
        assert found == set(range(1, len(names) + 1)), category


def test_color_and_object_labels_agree_with_the_painted_instances(scene_images):
    for scene_image in scene_images[:40]:
        assert (scene_image.labels["color"] > 0).mean() > 0.99  # the backdrop covers the image
        for instance in scene_image.objects:
            inside = scene_image.instances == instance.number
            number = scenes.LABELS["object"].index(instance.name) + 1
            assert (scene_image.labels["object"][inside] == number).all()
            assert (scene_image.labels["part"][inside] > 0).all()


def test_the_color_label_is_mostly_the_term_nearest_to_the_rendered_pixel(scene_images):
    terms = rgb2lab(np.array(list(COLORS.values()))[None])[0]
    agree = []
    for scene_image in scene_images[::8]:
        lab = rgb2lab(scene_image.image)[..., None, :]
        nearest = np.linalg.norm(lab - terms, axis=-1).argmin(-1) + 1
        agree.append((nearest == scene_image.labels["color"]).mean())
    assert np.mean(agree) > 0.5  # chance is 0.09; light and shade change the rendered color


def test_the_planted_parts_lie_at_their_recorded_positions(scene_images):
    eye = scenes.LABELS["part"].index("eye") + 1
    is_eye = []
    for scene_image in scene_images:
        main = scene_image.objects[scene_image.main]
        if main.name != "face" or main.visible_fraction < 0.98:
            continue
        for part in (part for part in main.parts if part.name == "eye"):
            x, y = int(part.x), int(part.y)
            if 0 <= x < 128 and 0 <= y < 128:
                is_eye.append(scene_image.labels["part"][y, x] == eye)
    assert len(is_eye) > 20 and np.mean(is_eye) > 0.97


def test_boxes_contain_their_instance_and_visibility_is_a_fraction(scene_images):
    for scene_image in scene_images[:60]:
        assert (
            scene_image.objects[scene_image.main].name
            == scenes.CLASS_NAMES[scene_image.class_index]
        )
        for instance in scene_image.objects:
            ys, xs = np.nonzero(scene_image.instances == instance.number)
            x0, y0, x1, y1 = instance.box
            assert 0 <= instance.visible_fraction <= 1
            if len(xs):
                assert x0 <= xs.min() and xs.max() < x1 + 1 and y0 <= ys.min() and ys.max() < y1 + 1


def test_companions_appear_with_their_object_at_the_planted_rate():
    own, stray, count = {"phone": 0, "bird": 0}, 0, 150
    for owner in own:
        index = scenes.CLASS_NAMES.index(owner)
        for repeat in range(count):
            scene_image = scenes.draw(11, index + 16 * repeat)
            own[owner] += any(
                o.companion_of == owner and o.number in (scene_image.main, scene_image.main + 2)
                for o in scene_image.objects
            )
            stray += any(o.name == "hand" and not o.companion_of for o in scene_image.objects)
    for hits in own.values():
        assert abs(hits / count - COMPANION_RATE) < 4 * np.sqrt(0.92 * 0.08 / count)
    assert stray / count < 5 * STRAY_COMPANION_RATE


def test_neither_color_nor_texture_of_the_object_predicts_its_class():
    """A classifier that knows the object's exact surface is no better than chance."""
    sample = [scenes.draw(5, index) for index in range(640)]
    for trait in ("color_label", "texture_label", "material_label"):
        values = np.array([getattr(p.objects[p.main].surface, trait) for p in sample])
        classes = np.array([p.class_index for p in sample])
        fixed = classes != scenes.CLASS_NAMES.index("face")  # faces have one of the skin colors
        train = np.arange(len(sample)) < 480
        table = np.zeros((12, 16))
        np.add.at(table, (values[train & fixed], classes[train & fixed]), 1)
        correct = table[values].argmax(1) == classes
        # chance is 0.067, with a standard error of 0.02 over 150 images
        assert correct[~train & fixed].mean() < 0.18, trait


def test_images_of_a_class_differ_in_size_position_and_rotation(scene_images):
    mains = [p.objects[p.main] for p in scene_images]
    scales = np.array([m.pose.scale for m in mains])
    assert scales.max() / scales.min() > 1.5
    assert np.std([m.pose.x for m in mains]) > 5 and np.std([m.pose.turn for m in mains]) > 0.05
    assert {m.pose.mirrored for m in mains} == {True, False}
    assert np.mean([len(p.objects) > 1 for p in scene_images]) > 0.5


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (ellipse(0, 0, 0.5), np.pi / 4),
        (ellipse(0.1, 0, 0.6, 0.3, 0.7), np.pi * 0.18),
        (block(0, 0.1, 0.5, 0.3), 0.6),
        (block(0, 0, 0.5, 0.3, 0.0, 0.4), 0.6),
        (polygon((-0.5, 0.5), (0.5, 0.5), (0.0, -0.5)), 0.5),
        (ring(0, 0, 0.5, 0.2), np.pi * (0.36 - 0.16)),
        (stroke(-0.4, 0, 0.4, 0, 0.1), 0.8 * 0.2 + np.pi * 0.01),
        (cut(block(0, 0, 0.5, 0.5), block(0.5, 0, 0.5, 0.5)), 0.5),
        (union(block(-0.5, 0, 0.2, 0.2), block(0.5, 0, 0.2, 0.2)), 0.32),
    ],
)
@pytest.mark.parametrize("rotation", [0.0, 0.9])
def test_painted_coverage_and_label_mask_both_have_the_area_of_the_shape(shape, area, rotation):
    canvas = Canvas(128, LIGHT._replace(ambient=1.0))
    white = plain("white", np.random.default_rng(0))._replace(color=(1.0, 1.0, 1.0))
    painted = canvas.paint(shape, Pose(64.3, 63.8, 50, rotation), white, Labels(3, 2, 1))
    assert canvas.image[..., 0].sum() / 2500 == pytest.approx(area, rel=0.02)
    assert (canvas.labels["object"] == 3).sum() == painted
    assert painted / 2500 == pytest.approx(area, rel=0.03)
    edge = (canvas.image > 0.05) & (canvas.image < 0.95)
    assert edge.any()  # anti-aliased, not a staircase


@pytest.mark.parametrize("texture", sorted(TEXTURES))
def test_a_texture_shows_both_colors_and_labels_each_pixel_with_its_own(texture):
    rng = np.random.default_rng(4)
    canvas = Canvas(128, LIGHT._replace(ambient=1.0))
    surface = with_texture("black", "white", texture, rng)
    canvas.paint(below(lambda x: 0 * x, 0, 128), Pose(0, 0, 1), surface, Labels())
    white = canvas.labels["color"] == scenes.LABELS["color"].index("white") + 1
    assert 0.08 < white.mean() < 0.92
    assert canvas.image[white].mean() > 0.6 > 0.35 > canvas.image[~white].mean()
    assert (canvas.labels["texture"] == scenes.LABELS["texture"].index(texture) + 1).all()


def test_light_changes_the_image_but_no_label():
    def painted(x: float) -> Canvas:
        canvas = Canvas(64, Light(x, -0.3, 0.6, 0.5, (1, 1, 1)))
        surface = random_surface(np.random.default_rng(1))
        canvas.paint(ellipse(0, 0, 0.8), Pose(32, 32, 30), surface, Labels(1, 1, 1), 0.8)
        return canvas

    left, right = painted(-0.7), painted(0.7)
    assert left.image[:, :20].sum() > right.image[:, :20].sum()
    assert all((left.labels[name] == right.labels[name]).all() for name in left.labels)


def test_a_set_gives_the_same_images_one_by_one_and_from_two_processes():
    lazy, eager = SceneSet(9, 6, start=30), SceneSet(9, 6, start=30)
    eager.draw_all(workers=2)
    assert torch.equal(lazy.batch([5, 0, 3]), eager.batch([5, 0, 3]))
    assert torch.equal(
        lazy.batch([2])[0], torch.from_numpy(scenes.draw(9, 32).image).permute(2, 0, 1) / 255
    )
    assert lazy.classes([0, 3]).tolist() == [scenes.draw(9, i).class_index for i in (30, 33)]
    assert [len(images) for _, images in lazy.batches(4)] == [4, 2]


def test_the_camera_of_a_scene_is_what_its_pixels_show():
    """Noise in the smoothest parts, and on average brighter images at a longer exposure."""
    drawn = [scenes.draw(5, index) for index in range(48)]
    pixels = np.stack([scene.image for scene in drawn]) / 255
    fine = np.diff(np.diff(pixels, axis=1), axis=2)[:, :120, :120] / 2
    spread = fine.reshape(48, 15, 8, 15, 8, 3).std((2, 4)).mean(-1).reshape(48, -1)
    noise = [scene.camera.noise for scene in drawn]
    assert np.corrcoef(np.quantile(spread, 0.05, axis=1), noise)[0, 1] > 0.9
    exposure = [scene.camera.exposure for scene in drawn]
    assert 0.88 <= min(exposure) < max(exposure) <= 1.08
    assert np.corrcoef(np.quantile(pixels, 0.99, axis=(1, 2, 3)), exposure)[0, 1] > 0.3


def test_scenes_in_a_folder_are_drawn_once_for_all_sets(tmp_path, monkeypatch):
    drawn, own = [], SceneSet(5, 4, start=2, labelled=True)
    draw = dataset.draw
    expected = own.batch(range(4)), own.label_maps(range(4)), own.attributes(range(4))
    monkeypatch.setattr(dataset, "draw", lambda *key: drawn.append(key) or draw(*key))
    one, other = (SceneSet(5, 4, start=2, labelled=True, folder=str(tmp_path)) for _ in range(2))
    one.batch([0, 3])
    other.batch([3, 1])
    for each in (one, other):
        found = each.batch(range(4)), each.label_maps(range(4)), each.attributes(range(4))
        assert all(map(torch.equal, found, expected))
    assert sorted(drawn) == [(5, index) for index in range(2, 6)]
    monkeypatch.setenv("CNNVIS_SCENES", str(tmp_path))
    later = SceneSet(5, 9, start=3)  # of the same seed, and longer
    assert torch.equal(later.batch(range(3)), expected[0][1:])
    assert torch.equal(later.attributes(range(3)), expected[2][1:])
    assert len(drawn) == 4
    later.batch([8])
    labelled = SceneSet(5, 9, start=3, labelled=True)
    labelled.draw_all(workers=1)
    assert torch.equal(labelled.label_maps(range(3)), expected[1][1:])
    labelled.label_maps([8])
    SceneSet(6, 4).batch([2])  # of another seed
    assert drawn.count((5, 11)) == 1 and drawn[-1] == (6, 2)


def test_without_its_folder_a_set_has_its_own_cache(tmp_path, monkeypatch):
    """As in a kernel that outlives the command that made the folder."""
    monkeypatch.setenv("CNNVIS_SCENES", str(tmp_path / "gone"))
    own = SceneSet(5, 2)
    expected = torch.from_numpy(scenes.draw(5, 1).image).permute(2, 0, 1) / 255
    assert torch.equal(own.batch([1])[0], expected)
    assert not list(tmp_path.iterdir())


def test_processes_that_lengthen_a_shared_cache_at_once_lose_nothing(tmp_path):
    none = np.zeros((0, 64, 64), np.uint8)

    def fill(start: int) -> None:
        for count in range(1, 40):
            cached = SceneSet(7, count, start=start, folder=str(tmp_path))
            cached._store(count - 1, np.full((128, 128, 3), start, np.uint8), none, (1,) * 5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(0, 160, 40)))
    for start in range(0, 160, 40):
        cached = SceneSet(7, 39, start=start, folder=str(tmp_path))
        assert cached._has_image.all() and (cached._images == start).all()


def test_a_process_that_may_not_start_others_draws_the_same_images_itself(monkeypatch):
    """Such as a worker of a Dask cluster."""
    monkeypatch.setitem(current_process()._config, "daemon", True)
    with pytest.raises(AssertionError, match="daemonic"), ProcessPoolExecutor(1) as pool:
        pool.submit(int)
    drawn, done = SceneSet(5, 3), []
    drawn.draw_all(on_progress=lambda number, _: done.append(number))
    assert done == [3]
    assert torch.equal(drawn.batch(range(3)), SceneSet(5, 3).batch(range(3)))


def test_processes_that_draw_end_with_the_one_that_started_them_even_if_it_is_killed():
    code = """
import os, signal
from multiprocessing import active_children
from threading import Thread
from cnnvis_lab.data.scenes import SceneSet

def kill():
    while len(active_children()) < 2:
        pass
    os.kill(os.getpid(), signal.SIGKILL)

Thread(target=kill).start()
SceneSet(1, 2000).draw_all(workers=2)
"""
    # The pipe to this process is open as long as one of them lives.
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL


# Processes that draw must not import: another thread of a notebook may hold the module's lock.
IMPORTS_NOTHING = """import os, sys
from cnnvis_lab.data import scenes

class Refuses:
    def find_spec(self, name, path=None, target=None, first=os.getpid()):
        if os.getpid() != first:
            raise RuntimeError(f"a process imports {name}")

sys.meta_path.insert(0, Refuses())
scenes.SceneSet(scenes.HELD_OUT_SEED, 16).draw_all()"""


def test_processes_that_draw_scenes_import_nothing():
    subprocess.run([sys.executable, "-c", IMPORTS_NOTHING], check=True, timeout=100)
