"""Wrong answers to the exercises of notebook 1."""

SETUP = """
train_iter, test_iter = d2l.load_data_fashion_mnist(batch_size=256)
X, y = next(iter(test_iter))
"""


def reshape32(body):
    return f"class Reshape32(torch.nn.Module):\n    def forward(self, X):\n        {body}"


BORDERED = "F.pad(d2l.Reshape()(X), (2, 2, 2, 2))"


def my_reshape(body):
    return f"""
class MyReshape(torch.nn.Module):
    def __init__(self, height, width):
        super().__init__()
        self.height, self.width = height, width

    def forward(self, X):
        h, w = self.height, self.width
        {body}
"""


def known(*conditions):
    return my_reshape(
        f"if {' or '.join(conditions)}:\n            return X.reshape(-1, 1, h, w)\n        raise ValueError(X.shape)"
    )


ROWS, MAPS = "X.ndim == 2 and X.shape[1] == h * w", "X.shape[1:] == (h, w)"
CHANNEL, SINGLE = "X.shape[1:] == (1, h, w)", "X.shape == (h, w)"

PLAIN = """
class Reshape32:
    def forward(self, X):
        return X
"""

WRONG = {
    "1.1": [
        ("result = [[0, 1, 2], [3, 4, 5]]", "as if the reshape undid"),
        ("result = [[0, 3], [1, 4], [2, 5]]", "two rows of three"),
        ("result = [[0, 2, 4], [1, 3, 5]]", "not in this order"),
        ("result = [[1, 4, 2], [5, 3, 6]]", "keeps every number"),
        ("result = 'a'", "not a table"),
    ],
    "1.2": [
        ("def store(pictures):\n    return pictures.view(-1, 784)", "nothing is broken"),
        ("def store(pictures):\n    return pictures.permute(1, 2, 0)", "refuses it"),
        ("def store(pictures):\n    return torch.rand(5, 784)", "same numbers"),
        ("def store(pictures):\n    return pictures.permute(1, 2, 0).numpy()", "same numbers"),
        ("def store(pictures):\n    return pictures.flip(0)", "mixed with another"),
        ("def store(pictures):\n    return pictures.view(-1, 784)[:, torch.randperm(784)]", "mixed with another"),
        (
            "def store(P):\n    return torch.cat([P[:2].permute(1, 2, 0).reshape(2, 784), P[2:].flatten(1)])",
            "not all of",
        ),
        ("def store(pictures):\n    pictures.view(-1, 784)", "returns nothing"),
    ],
    "1.3": [
        (reshape32("return F.interpolate(d2l.Reshape()(X), size=(32, 32))"), "makes new values"),
        (reshape32("return F.pad(d2l.Reshape()(X), (0, 4, 0, 4))"), "not in the middle"),
        (reshape32("return F.pad(d2l.Reshape()(X), (4, 4, 4, 4))"), "(N, 1, 32, 32)"),
        (reshape32("return F.pad(d2l.Reshape()(X), (2, 2, 2, 2), value=1.0)"), "not black"),
        (
            reshape32("Y = F.pad(d2l.Reshape()(X), (2, 2, 2, 2)); Y[:, :, 0], Y[:, :, -1] = 1, -1; return Y"),
            "not black",
        ),
        (reshape32("return X.reshape(-1, 1, 32, 32)"), "ends in an error"),
        (reshape32(BORDERED), "returns nothing"),
        (reshape32(f"return {BORDERED} * 255"), "makes new values"),
        (reshape32(f"X *= 255; return {BORDERED}"), "makes new values"),
        (reshape32(f"return {BORDERED}.flip(3)"), "not all of them are in"),
        (reshape32(f"return {BORDERED}.mT"), "not all of them are in"),
        (reshape32(f"return {BORDERED}.flip(0) if len(X) < 28 else {BORDERED}.flip(2)"), "not all of them are in"),
        (reshape32(f"return {BORDERED},"), "type `tuple`"),
        (reshape32(f"return {BORDERED}") + "\n\nReshape32 = Reshape32()", "The class itself"),
        (PLAIN, "cannot be called as a layer"),
    ],
    "1.4": [
        (
            known(ROWS, MAPS, CHANNEL).replace(
                "if X", "if X.ndim == 2 and len(X) == h:\n            X = X[None]\n        if X"
            ),
            "Size([1, 3, 21])",
        ),
        (known(ROWS + " and len(X) > 1", MAPS, CHANNEL, SINGLE), "Size([1, 21])"),
        (my_reshape("return X.reshape(-1, 1, h, w)"), "It takes colour pictures"),
        (my_reshape("return X.reshape(1, -1, h, w)"), "batch and the channel axis"),
        (my_reshape("return X.reshape(-1, 1, w, h)"), "height and width have changed"),
        (my_reshape("return X.reshape(5, 1, h, w)"), "is invalid for input"),
        (my_reshape("return X.reshape(-1, h, w)"), "channel axis is missing"),
        (my_reshape("return X.reshape(X.numel() / (h * w), 1, h, w)"), "`//` a whole one"),
        (my_reshape("return X.reshape(-1, w, h).transpose(1, 2)[:, None]"), "pixels are not where"),
        (my_reshape("return X if X.shape == (h, w) else X.reshape(len(X), 1, h, w)"), "batch of one"),
        (my_reshape("return X.reshape(1 if X.shape == (h, w) else len(X), 1, h, w)"), "yours is RuntimeError"),
        (my_reshape("X.reshape(-1, 1, h, w)"), "returns nothing"),
        (known(SINGLE, ROWS, "X.ndim == 3", CHANNEL), "twice as high"),
        (known(SINGLE, ROWS, MAPS, "X.ndim == 4 and X.shape[1] == 1"), "twice as wide"),
        (known(SINGLE, ROWS, "X.ndim == 3 and X[0].numel() == h * w", CHANNEL), "on their side, ("),
        (known(SINGLE, ROWS, MAPS, "X.ndim == 4 and len(X[0]) == 1 and X[0].numel() == h * w"), "on their side, with"),
        (known("X.ndim == 2 and X.numel() == h * w", ROWS, MAPS, CHANNEL), "a single picture on its side"),
        (known("X.ndim < 3 and X.shape[-1] == h * w", MAPS, CHANNEL, SINGLE), "row without a batch"),
        (known("X.ndim > 1 and X.shape[-1] == h * w", MAPS, CHANNEL, SINGLE), "batches of rows"),
        (known(ROWS, MAPS, SINGLE, "X.ndim == 4 and X.shape[1] != 3 and X.shape[2:] == (h, w)"), "two channels"),
        (known(ROWS, MAPS, SINGLE, "X.ndim > 3 and X.shape[-3:] == (1, h, w)"), "batches of batches"),
        (known(ROWS, MAPS, CHANNEL, SINGLE, "X.shape[1:] == (1, h * w)"), "rows with a channel"),
        (known(ROWS, MAPS, CHANNEL, SINGLE, "X.shape[1:] == (1, 1, h, w)"), "two channel axes"),
        (known(ROWS, MAPS, CHANNEL, SINGLE).replace("raise", "return"), "instead of raising"),
        (known(ROWS, MAPS, CHANNEL, SINGLE) + "\n\nMyReshape = MyReshape(3, 7)", "The class itself"),
    ],
}

RIGHT = {
    "1.1": ["result = [torch.tensor([0, 3, 1]), torch.tensor([4, 2, 5])]"],
    "1.2": ["def store(P):\n    return P.copy_(P.permute(1, 2, 0).reshape(P.shape))"],
    "1.4": [known(ROWS, MAPS, CHANNEL, SINGLE)],
}
