"""Texts above the gallery's figures: what the survey shows, or the question asked."""

import re
from collections.abc import Iterable, Mapping

from ..notebooks import Claim

# In our own words, of Qin, Yu, Liu and Chen 2018, arXiv 1804.11191.
SURVEY_FIGURES: dict[str, str] = {
    "F1a": "several patterns found for each of four CaffeNet units of the first layer: they are "
    "alike whatever the random start.",
    "F1b": "that what ascent finds in the first layer is the filter itself, and that filters fall "
    "into coloured ones and black-and-white ones that answer to shapes.",
    "F2": "units of CaffeNet from CL2 to FL2: edges first, then a face, a wheel, a bottle, an eye. "
    "Patterns get more complex with depth, most of all from CL5 to the full layers, and not every "
    "one can be interpreted.",
    "F3-upper": "class pictures of CaffeNet found in pixels: the object is there several times, "
    "blurred, and far from a photograph.",
    "F3": "five classes, above in pixels and below through a generator, whose colours and textures "
    "are far more natural. Classes bring along what they occur with, a phone its hand.",
    "F4": "the layers of a deconvolutional network: each undoes one of the network's, unpooling by "
    "switches, rectifying, filtering with the transposed kernels.",
    "F5": "two units of each layer of CaffeNet: edges and corners in CL1 and CL2, textures in CL3, "
    "and in CL4 and CL5 what belongs to a class, nearly whole objects.",
    "F6": "why AlexNet became ZFNet: dead filters in the first layer and aliasing in the second, "
    "which smaller filters and a smaller stride remove.",
    "F7": "features of ZFNet as training goes on: the two lowest layers are there within a few "
    "epochs, CL4 and CL5 need many.",
    "F8": "the two ways back from a code to a picture: descent with a regulariser, which asks the "
    "network at every step, and a trained up-convolutional network.",
    "F9": "one picture from every layer of AlexNet: faithful from convolutions, much vaguer from "
    "full layers, where the trained network keeps colours and rough places.",
    "F10": "pictures from changed features: signs alone are nearly enough in FL1, losing a random "
    "half costs much, and losing the least important half little or nothing.",
    "F11": "units of AlexNet on pictures of Broden, one group for each kind of concept, black "
    "where the unit is not active.",
    "F12": "the way of a dissection: enlarge a unit's map, cut it at a threshold, compare it with "
    "the pixels of a concept.",
    "F13": "units of each layer of AlexNet with the concepts they detect: colours in the low "
    "layers, objects and textures in CL5.",
    "F14-layers": "how many concepts each layer detects, by category.",
    "F14-conditions": "that repeated trainings detect about the same, that without dropout there "
    "are more textures and fewer objects, and that batch normalisation lowers the number.",
    "F15": "dogs and airplanes as one unit sees them and as a combination of units does: the "
    "combination covers the object better in most pictures.",
}
QUESTIONS: dict[str, str] = {
    "START-pictures": "What does the network look at, and what does it say?",
    "START-maps": "What do the units of a layer make of a picture?",
    "START-excite": "Which picture would excite a unit most?",
    "START-deconvnet": "What in a picture excited a unit?",
    "START-inversion": "What is left of a picture in each layer?",
    "START-dissection": "Is there a word for what a unit looks for?",
    "AM-priors": "What does a prior cost, and what is it good for?",
    "AM-depth": "Is there one best picture of a unit, whatever the start?",
    "AM-facets": "How many sides does one class have?",
    "AM-directions": "Are units special, or is any direction of a layer as good?",
    "AM-dream": "What does a layer see in a photograph?",
    "DG-codes": "What of a picture is left in the code that a generator reads?",
    "DG-priors": "Which layer's codes make the best prior?",
    "DG-evolution": "How does a picture come about in the space of codes?",
    "DG-bounds": "Why must codes be kept within bounds?",
    "DG-hidden": "Does the generator help with hidden units, too?",
    "DG-diversity": "Are pictures of one class different from each other?",
    "DG-networks": "Does the generator serve networks it was not trained for?",
    "DN-rules": "What do the rules of the way back differ in?",
    "DN-occlusion": "Does covering what was projected silence the unit?",
    "DN-correspondence": "Does the network know that parts correspond?",
    "DN-invariance": "How much do shifts, scales and turns move each layer?",
    "DN-design": "What makes one first layer better than another?",
    "EV-similarity": "Which layers settle first?",
    "EV-strongest": "Until when do units change what they answer to?",
    "EV-detectors": "Which concepts come when?",
    "EV-bad-runs": "Can one see that a training goes wrong?",
    "F9-photographs": "Does it work on photographs, which the networks were not trained on?",
    "INV-recipes": "How much does the recipe of the descent matter?",
    "INV-numbers": "What exactly is lost from layer to layer?",
    "INV-starts": "Do different starts end at the same picture?",
    "INV-priors": "What does the weight of the regulariser do?",
    "INV-factors": "Is it the irrelevant that is filtered out?",
    "INV-bottleneck": "Is the loss due to the size of the code, or to what was learnt?",
    "INV-hog": "What is in a hand-made descriptor?",
    "PE-layers": "Is what F10 shows true in numbers, and of all layers?",
    "PE-dropped": "How much can be dropped, and of what?",
    "PE-bits": "How many bits does a feature need?",
    "PE-scores": "Is the picture in the largest class scores, or in the others?",
    "PE-pruning": "Can inversion say which maps to remove?",
    "ND-training": "When in a training do concepts come about?",
    "ND-rotation": "Is there anything special about the basis that units are?",
    "ND-threshold": "Do conclusions hang on the limit of the IoU?",
    "NV-scatter": "Which concepts gain from a combination?",
    "NV-filters": "How many filters does a concept need?",
    "NV-share": "Does telling a concept need fewer filters than covering it?",
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
    return ("Asked here:", QUESTIONS[figure]) if figure in QUESTIONS else ("", "")


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
