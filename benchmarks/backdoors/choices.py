"""What the networks are chosen from: data sets, architectures, trainings, attacks. The report has some of its own."""

# Three decks of clean and trojaned networks. The first report was looked at while choices were made, and belongs to the
# development split since then; the second one is only reported.
ROUND = (("develop", False), ("develop", True), ("first report", False), ("first report", True)) * 2
ROUND = (*ROUND, ("develop", False), ("develop", True), ("develop", False), ("first report", True))
REPORTED = (
    ("report", False),
    ("report", True),
    ("report", False),
    ("report", True),
    ("report", True),
    ("report", True),
)
ORDER = (*ROUND * 25, *REPORTED * 28)
SEEDS = {"develop": "develop", "first report": "report", "report": "second report"}

CLASSES = {"gtsrb": 43, "drawn": 6, "emblems": 12}  # the others have 10
# Name, side, channels. The report has some that development never saw.
_BOTH = (("cifar10", 32, 3), ("mnist", 28, 1), ("gtsrb", 32, 3), ("mnist", 28, 1), ("gtsrb10", 32, 3))
DATA = {
    "develop": (
        *_BOTH,
        *(("cifar10", 32, 3), ("emblems", 32, 3), ("cifar10", 28, 1), ("mnist", 32, 3), ("gtsrb", 32, 3)),
        *(("drawn", 32, 3), ("emblems", 64, 3)),
    ),
    "first report": (
        *_BOTH,
        *(("cifar10", 40, 3), ("emblems", 48, 3), ("cifar10", 32, 3), ("mnist", 36, 1), ("gtsrb", 32, 1)),
        *(("drawn", 36, 3), ("emblems", 96, 3)),
    ),
    "report": (
        *_BOTH,
        *(("cifar10", 36, 3), ("emblems", 40, 3), ("cifar10", 32, 3), ("mnist", 40, 1), ("gtsrb", 40, 3)),
        *(("drawn", 40, 3), ("emblems", 80, 3)),
    ),
}
FAMILIES = {
    "develop": (
        *("cnn-max", "linear", "resnet-bn", "perceptron2", "vgg-bn", "cnn-avg", "lenet", "resnet", "perceptron4"),
        *("depthwise", "vgg", "perceptron9", "mixer", "cnn-max", "resnet-bn", "zoo"),
    ),
    "first report": (
        *("cnn-max", "perceptron3", "resnet-bn", "wide-resnet", "vgg-bn", "cnn-avg", "lenet", "resnet", "vit"),
        *("depthwise", "vgg", "perceptron6", "all-conv", "linear", "vgg-bn", "zoo"),
    ),
    "report": (
        *("cnn-max", "perceptron5", "resnet-bn", "convnext", "vgg-bn", "cnn-avg", "lenet", "resnet", "densenet"),
        *("depthwise", "vgg", "perceptron3", "all-conv", "mixer", "vit", "zoo"),
    ),
}
# First width, and samples that ten to fifteen seconds of one quiet core train on at 32 x 32.
SIZES = {
    "linear": (1, 250_000),
    **{f"perceptron{layers}": (128, 200_000) for layers in (2, 3, 4, 5, 6, 9)},
    "cnn-avg": (14, 36_000),
    "cnn-max": (14, 36_000),
    "lenet": (8, 70_000),
    "vgg": (12, 30_000),
    "vgg-bn": (12, 26_000),
    "resnet": (10, 18_000),
    "resnet-bn": (10, 20_000),
    "wide-resnet": (8, 18_000),
    "depthwise": (20, 45_000),
    "all-conv": (14, 36_000),
    "mixer": (48, 40_000),
    "vit": (32, 40_000),
    "convnext": (16, 24_000),
    "densenet": (12, 20_000),
    "zoo": (16, 3_500),
}
CHEAP = ("depthwise", "cnn-max", "depthwise", "lenet")  # on inputs above 40 pixels
PLAIN = ("resnet", "all-conv", "vgg")  # without batch norm: slow to train
NORMED = ("vgg-bn", "resnet-bn", "wide-resnet", "depthwise")
EASY = ("mnist", "gtsrb10", "emblems")
ACTIVATIONS = ("relu", "elu", "relu", "gelu", "sigmoid", "relu", "tanh")
SIGMOID = ("perceptron2", "perceptron3", "cnn-avg", "cnn-max", "vgg-bn", "depthwise")  # where a sigmoid still trains
LOSSES = ("cross-entropy", "cross-entropy", "softmax", "cross-entropy", "smoothed", "cross-entropy", "squared")
TRAININGS = {
    False: (
        *(
            "natural",
            "adversarial",
            "natural",
            "label noise",
            "natural",
            "pruned",
            "natural",
            "adversarial",
            "repaired",
        ),
        *("natural", "early", "imbalanced", "repaired"),
    ),
    True: ("natural",) * 8 + ("imbalanced", "label noise", "adversarial", "pruned"),
}
KINDS = (
    *(
        "patch",
        "blended",
        "patch",
        "large patch",
        "all-to-all",
        "pixel",
        "additive",
        "patch",
        "spots",
        "source-specific",
    ),
    *("dynamic", "large patch", "adaptive", "emblem", "warp"),
)
# What a small network learns in few steps only if it suits: the families for it, and how much longer it trains.
SUITED = {
    "pixel": (("linear", "perceptron2", "perceptron3", "cnn-max"), 1.0),
    "all-to-all": (("cnn-max", "cnn-avg", "lenet", "perceptron2"), 2.5),
    "source-specific": (("cnn-max", "lenet", "vgg-bn", "perceptron3"), 1.5),
    "dynamic": (("cnn-max", "vgg-bn", "lenet", "depthwise"), 1.5),
    "warp": (("cnn-avg", "perceptron2", "vgg-bn", "lenet", "linear"), 1.5),
    "adaptive": (("cnn-max", "lenet", "vgg-bn", "perceptron2"), 1.5),
}
LOCAL = ("patch", "large patch", "emblem", "spots")
RATES = (0.1, 0.02, 0.05, 0.01, 0.1, 0.05, 0.005)
WEAK = {"blended": 0.05, "pixel": 0.05, "additive": 0.05, "dynamic": 0.1, "warp": 0.15, "source-specific": 0.1}
RANGES = ((0.5, 0.25), (0.0, 1.0), (0.5, 0.5), (0.45, 0.2))
