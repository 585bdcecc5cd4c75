"""Texts above the gallery's figures: what the survey shows, or the question asked."""

import re
from collections.abc import Iterable, Mapping

from ..notebooks import Claim

# In our own words, of Qin, Yu, Liu and Chen 2018, arXiv 1804.11191.
SURVEY_FIGURES: dict[str, str] = {
    "F1a": "several patterns found for each of four first-layer units of CaffeNet: they are alike "
    "for every random start.",
    "F1b": "that ascent finds the filter itself for a first-layer unit, and that the filters fall "
    "into two groups: colored ones, and black-and-white ones that respond to shapes.",
    "F2": "units of CaffeNet from CL2 to FL2: edges first, then a face, a wheel, a bottle, an eye. "
    "The patterns become more complex with depth, most of all from CL5 to the fully connected "
    "layers, and not every one can be interpreted.",
    "F3-upper": "class images of CaffeNet that were optimized in pixel space: the object appears "
    "several times, blurred, and the image is far from a photograph.",
    "F3": "five classes, above in pixel space and below through a generator, whose colors and "
    "textures are far more natural. The images also contain what a class occurs with, such as the "
    "hand that holds a phone.",
    "F4": "the layers of a deconvolutional network: each reverses one of the network's layers, by "
    "unpooling with switches, rectifying, and filtering with the transposed kernels.",
    "F5": "two units of each layer of CaffeNet: edges and corners in CL1 and CL2, textures in CL3, "
    "and in CL4 and CL5 class-specific parts and nearly whole objects.",
    "F6": "why AlexNet was changed to ZFNet: smaller filters and a smaller stride remove dead "
    "filters in the first layer and aliasing in the second.",
    "F7": "features of ZFNet during training: the two lowest layers converge within a few epochs, "
    "CL4 and CL5 need many.",
    "F8": "the two methods that invert a code: optimization with a regularizer, which evaluates "
    "the network at every step, and a trained up-convolutional network.",
    "F9": "one image inverted from every layer of AlexNet: accurate from convolutional layers, "
    "much vaguer from fully connected ones, where the trained decoder preserves colors and rough "
    "positions.",
    "F10": "images from perturbed features: in FL1 the signs alone are nearly sufficient, the loss "
    "of a random half does much damage, and that of the least important half little or none.",
    "F11": "units of AlexNet on images of Broden, one group for each category of concepts, black "
    "where the unit is inactive.",
    "F12": "the steps of a dissection: upsample a unit's map, threshold it, and compare it with "
    "the pixels of a concept.",
    "F13": "units of each layer of AlexNet with the concepts they detect: colors in the low "
    "layers, objects and textures in CL5.",
    "F14-layers": "how many concepts each layer detects, by category.",
    "F14-conditions": "that repeated trainings detect about the same concepts, that without "
    "dropout there are more textures and fewer objects, and that batch normalization lowers the "
    "number.",
    "F15": "images of dogs and airplanes with the masks of one unit and of a combination of units: "
    "on most images the combination covers the object better.",
}
QUESTIONS: dict[str, str] = {
    "START-pictures": "Which images does the network receive, and what does it predict?",
    "START-maps": "How do the units of a layer respond to an image?",
    "START-excite": "Which image maximizes a unit's activation?",
    "START-deconvnet": "Which part of an image activated a unit?",
    "START-inversion": "How much of an image does each layer preserve?",
    "START-dissection": "Which concept does a unit detect?",
    "AM-priors": "What does a prior cost, and what is its benefit?",
    "AM-depth": "Do all starts lead to the same image of a unit?",
    "AM-facets": "How many facets does one class have?",
    "AM-directions": "Are units more meaningful than random directions of a layer?",
    "AM-dream": "What does a layer detect in a photograph?",
    "DG-codes": "How much of an image is preserved in the code that a generator reads?",
    "DG-priors": "Which layer's codes make the best prior?",
    "DG-evolution": "How does an image develop during the optimization of its code?",
    "DG-bounds": "Why must codes be kept within bounds?",
    "DG-hidden": "Does the generator also help with hidden units?",
    "DG-diversity": "Do different starts lead to different images of one class?",
    "DG-networks": "Does the generator work for networks that it was not trained for?",
    "DN-rules": "How do the rules of the backward pass differ?",
    "DN-occlusion": "Is the unit deactivated if the projected part is occluded?",
    "DN-correspondence": "Does the network treat the same part of different faces alike?",
    "DN-invariance": "How much do translation, scaling and rotation change the features of each "
    "layer?",
    "DN-design": "What makes one first layer better than another?",
    "EV-similarity": "Which layers converge first?",
    "EV-strongest": "How long do the units' top-activating images keep changing?",
    "EV-detectors": "Which concepts are detected first?",
    "EV-bad-runs": "Can a failing training be recognized from its features?",
    "F9-photographs": "Does inversion work on photographs, which the networks were not trained on?",
    "INV-recipes": "How much does the result depend on the recipe?",
    "INV-numbers": "What exactly is lost from layer to layer?",
    "INV-starts": "Do different starts lead to the same image?",
    "INV-priors": "What is the effect of the regularizer's weight?",
    "INV-factors": "Is irrelevant information filtered out with depth?",
    "INV-bottleneck": "Is the loss due to the size of the code, or to the training?",
    "INV-hog": "What does a hand-crafted descriptor preserve?",
    "PE-layers": "Do the effects that F10 shows hold in numbers, and for all layers?",
    "PE-dropped": "How many features can be dropped, and which?",
    "PE-bits": "How many bits does a feature need?",
    "PE-scores": "Is the image encoded in the largest class scores, or in the others?",
    "PE-pruning": "Can inversion determine which maps to remove?",
    "ND-training": "When do concepts emerge during training?",
    "ND-rotation": "Are single units special among all bases of a layer?",
    "ND-threshold": "Do conclusions depend on the IoU limit?",
    "NV-scatter": "Which concepts gain from a combination?",
    "NV-filters": "How many filters does a concept need?",
    "NV-share": "Does classifying a concept need fewer filters than segmenting it?",
    "NV-reuse": "How many concepts share a filter?",
    "NV-map": "Which concepts lie near each other?",
    "NV-inverted": "What does a concept vector look like?",
}
# Claims that are read off a figure without the survey's number standing in their source.
_CLAIMS_OF_FIGURE: dict[str, str] = {
    "AM-priors": "AM4 AM5 AM9", "AM-depth": "AM7", "AM-directions": "AM10", "F2": "AM1",
    "F3-upper": "AM1b AM8 AM11", "F1b": "AM2 AM3",
    "DG-codes": "DG1d", "DG-priors": "DG1 DG1b DG1c DG2", "DG-bounds": "DG3 DG3b DG3c",
    "DG-diversity": "DG4 DG4b DG4c", "DG-networks": "DG5",
    "F4": "DN1", "F5": "DN2 DN2b DN3 DN4", "DN-rules": "DN5", "DN-occlusion": "DN6 DN6b",
    "DN-invariance": "DN7 DN7b", "DN-correspondence": "DN8 DN8b", "DN-design": "DN9b DN9d",
    "F7": "EV1", "EV-similarity": "EV2 EV2b", "EV-strongest": "EV3 EV3b",
    "EV-detectors": "EV4 EV4b", "EV-bad-runs": "EV5 EV5b EV5c EV5d EV6",
    "INV-recipes": "INV2 INV2b", "INV-numbers": "INV4 INV4b INV5 INV5b INV6",
    "INV-starts": "INV7", "INV-priors": "INV8 INV8b", "INV-factors": "INV9 INV9b INV9c",
    "INV-bottleneck": "INV10",
    "F10": "PE2 PE2b PE2c PE2d", "PE-layers": "PE2e PE2f PE3 PE3b PE3c",
    "PE-dropped": "PE4 PE4b", "PE-pruning": "PE5 PE5b PE5c", "PE-scores": "PE6", "PE-bits": "PE7",
    "F12": "ND1", "F14-layers": "ND2", "F13": "ND2b", "ND-rotation": "ND3 ND3b ND3c",
    "F14-conditions": "ND4 ND4b ND4c ND5 ND7 ND8", "ND-threshold": "ND6", "ND-training": "ND9",
    "NV-scatter": "NV1 NV2b NV9", "NV-filters": "NV1b NV3 NV3b NV3c NV4", "NV-share": "NV5 NV5b",
    "NV-reuse": "NV6 NV6b", "NV-map": "NV8 NV8b", "NV-inverted": "NV10", "F15": "NV2 NV7",
}  # fmt: skip
FIGURE_OF_CLAIM = {
    claim: figure for figure, claims in _CLAIMS_OF_FIGURE.items() for claim in claims.split()
}


def introduction(figure: str) -> tuple[str, str]:
    """Return the text above a figure as its beginning and the rest; both empty if unknown."""
    if figure in SURVEY_FIGURES:
        return "The survey shows", SURVEY_FIGURES[figure]
    return ("The question:", QUESTIONS[figure]) if figure in QUESTIONS else ("", "")


def claims_by_figure(claims: Iterable[Claim], figures: Iterable[str]) -> Mapping[str, list[Claim]]:
    """Group a notebook's claims by figure.

    A claim belongs to the figure that it is read off; otherwise to the first figure whose number,
    such as F9, its source mentions; otherwise to none, under "".

    Args:
        claims: the claims of one notebook.
        figures: ids of its figures.
    """
    groups: dict[str, list[Claim]] = {figure: [] for figure in [*figures, ""]}
    for claim in claims:
        figure = FIGURE_OF_CLAIM.get(claim.id, "")
        if figure not in groups or not figure:
            mentioned = (id for id in groups if id and _mentions_figure(claim.source, id))
            figure = next(mentioned, "")
        groups[figure].append(claim)
    return groups


def _mentions_figure(source: str, figure: str) -> bool:
    """Whether a source mentions a figure's number, with or without the letter after it."""
    number = re.match(r"F\d+", figure)
    return bool(number) and re.search(rf"\b{number[0]}\b", source) is not None
