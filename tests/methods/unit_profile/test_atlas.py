"""Units in batches: what is known of each belongs to it."""

import json

import torch
from support import planted_units

from cnnvis_lab.methods import dissection, unit_profile
from cnnvis_lab.methods.unit_profile import atlas


def test_masks_are_those_of_the_units_images_cropped_to_their_boxes(monkeypatch):
    monkeypatch.setattr(atlas, "MASK_BATCH", 4)
    model, data = planted_units.network(), planted_units.dataset()
    analysis = unit_profile.analyze_layer(model, "2", data, learn_vectors=False)
    stored = json.loads(json.dumps(unit_profile.summarize(analysis).to_json()))
    scan = unit_profile.LayerScan.from_json(stored)
    batch = unit_profile.profile_units(model, scan, [3, 0], data, steps=1)
    assert batch.masks.shape == (2, unit_profile.TOP_COUNT, 5, 5)
    for row, unit in enumerate((3, 0)):
        images = data.batch(batch.images[row].tolist())
        whole = dissection.unit_masks(model, images, "3", analysis.table.thresholds, [unit])
        for mask, own, (y0, x0, y1, x1) in zip(
            batch.masks[row], whole[:, 0], batch.boxes[row].tolist(), strict=True
        ):
            assert torch.equal(mask, own[y0:y1, x0:x1])
    assert batch.masks[0].any() and not torch.equal(*batch.masks)
