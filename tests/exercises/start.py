"""Wrong answers to the exercises of notebook 0."""

SETUP = """
from lenet_utils.data import Batches, read_split
from lenet_utils.exercises import start as judges

judges.PICTURES = 512  # as real trainings take minutes

def few(split):
    images, labels = read_split(split)
    return Batches(images[:512], labels[:512], 256)

train_iter, test_iter = few("train"), few("t10k")

def history(epochs, images=512, **more):
    made = d2l.History("cpu", **more)
    for epoch in range(epochs):
        made.add(1 / (1 + epoch), 0.5, images, 1.0, 0.5)
    return made
"""

TRAINS = {"0.2", "0.3"}


def name_of(body):
    return f"def name_of(scores):\n    {body}"


NAMES = "d2l.get_fashion_mnist_labels"
POSITIVE_ONLY = """
best, number = 0, 0
    for i, score in enumerate(scores):
        if score > best:
            best, number = score, i
    return d2l.get_fashion_mnist_labels([number])[0]
"""

WRONG = {
    "0.1": [
        ("guess = 0.73", "after real training"),
        ("guess = 0.4", "would have to learn"),
        ("guess = 0.2", "would have to learn"),
        ("guess = 0.0", "never looks"),
        ("guess = 0.05", "never looks"),
        ("guess = 10", "divide per cent"),
        ("guess = -0.1", "to 1 for all."),
        ("guess = 150", "to 1 for all."),
        ("guess = float('nan')", "no number at all"),
        ("guess = '0.5'", "without quotation marks"),
    ],
    "0.2": [
        ("ruinous_lr = 0.9", "bears it"),
        ("ruinous_lr = 2.5", "suffers"),
        ("ruinous_lr = 2", "suffers"),
        ("ruinous_lr = 10**400", "64 bits"),
        ("ruinous_lr = 0.0", "steps of zero"),
        ("ruinous_lr = -1.0", "on purpose"),
        ("ruinous_lr = float('inf')", "finite number"),
        ("ruinous_lr = float('nan')", "finite number"),
        ("ruinous_lr = 'large'", "not a number"),
    ],
    "0.3": [
        ("my_history = history(4)", "four epochs, as many"),
        ("my_history = history(12)", "here it is 12"),
        ("my_history = history(8, stopped='in epoch 8 of 9')", "was stopped"),
        ("my_history = d2l.lenet()", "got Sequential"),
        ("my_history = history(8, images=256)", "it saw 256"),
        ("my_history = history(8)\nmy_history.train_loss[-1] = float('nan')", "stops being a number"),
        (
            "my_history = d2l.train_ch6(\n    d2l.lenet(), train_iter, test_iter, num_epochs=8, lr=0.0, device=device)",
            "same in every epoch",
        ),
    ],
    "0.4": [
        (name_of("return scores.argmax()"), "number of a class"),
        (name_of("return int(scores.argmax())"), "number of a class"),
        (name_of("return {'bag': 1}"), "type `dict`"),
        (name_of("yield 'bag'"), "type `generator`"),
        (name_of("return scores.max()"), "a score"),
        (name_of("return float(scores.max())"), "a score"),
        (name_of("return scores"), "a tensor of 10 numbers"),
        (name_of(f"return {NAMES}([scores.argmax()])"), "gives a list"),
        (name_of(f"return tuple({NAMES}([scores.argmax()]))"), "gives a list"),
        (name_of(f"return {NAMES}([scores.argmin()])[0]"), "lowest score"),
        (name_of("return 'bag'"), "whatever the scores"),
        (name_of(f"return {NAMES}([(int(scores.argmax()) + 1) % 10])[0]"), "not always"),
        (name_of(f"return {NAMES}(scores.argmax())"), "gives a list"),
        (name_of(f"return {NAMES}(scores)"), "ends in an error"),
        (name_of(f"return {NAMES}([scores.argmax()])[0].title()"), "not among"),
        (name_of(f"{NAMES}([scores.argmax()])[0]"), "returns nothing"),
        (name_of(POSITIVE_ONLY.strip()), "all be negative"),
        (name_of(f"return {NAMES}([scores[:9].argmax()])[0]"), "not always"),
    ],
}

RIGHT = {
    "0.1": ["guess = 0.08", "guess = 0.12", "import decimal\nguess = decimal.Decimal('0.1')"],
    "0.2": ["ruinous_lr = 1e100"],
    "0.3": ["my_history = history(8, stopped='after epoch 8, the last')"],
}
