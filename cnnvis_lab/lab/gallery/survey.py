"""What the survey shows in each of its figures."""

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
