"""Typical wrong answers to the exercises of notebook 4, each with a piece of what the check says to it."""

from answers import but

SETUP = """
from lenet_utils.data import read_split
from lenet_utils.exercises import inside as judges

net, logits = judges.trained_net(), judges.trained_logits()  # computed once for all tests
images, labels = read_split("t10k")
images = images[:1000].unsqueeze(1) / 255
"""

TRAINS = {"4.5"}  # its pictures are the same every time, and the network sees thousands

TURNED = "upside_down, moved = 1, {1: 2, 2: 4, 3: 2, 4: 5}\n"

SILENT = """
def accuracy_without(net, k, X, y):
    maps = net[:3](X)
    maps[:, k] = maps[:, k].mean()
    return (net[3:](maps).argmax(dim=1) == y).float().mean().item()


most_missed = 0
"""

CALIBRATION = """
def calibration_error(logits, labels, temperature=1.0):
    p = (logits / temperature).softmax(dim=1)
    confidence, answers = p.max(dim=1)
    right = (answers == labels).float()
    bins = (confidence * 10).long().clamp(max=9)
    error = 0
    for k in bins.unique():
        inside = bins == k
        gap = (confidence[inside].mean() - right[inside].mean()).abs()
        error += gap * inside.sum() / len(labels)
    return float(error)


best, changed = 1.15, 0
"""

BOTH = """
def seen_by_both(windows, i, j, size):
    side, step, start = 1, 1, 0
    for k, s, p in windows:
        side, start, step = side + (k - 1) * step, start - p * step, step * s
    first = max(start + max(i, j) * step, 0)
    last = min(start + min(i, j) * step + side - 1, size - 1)
    return max(last - first + 1, 0)
"""

ALARM = """
def alarm(net, known, X):
    return torch.cdist(X.flatten(1), known.flatten(1)).amin(dim=1)
"""
BEHIND = """
def accuracy_without(net, k, X, y):
    maps = net[:4](X)
    maps[:, k] = maps[:, k].mean()
    return (net[4:](maps).argmax(dim=1) == y).float().mean()


most_missed = 0
"""

HOOK = """
def accuracy_without(net, k, X, y):
    def hook(layer, inputs, maps):
        maps = maps.clone()
        maps[:, k] = maps[:, k].mean()
        return maps

    handle = net[2].register_forward_hook(hook)
    accuracy = (net(X).argmax(dim=1) == y).float().mean().item()
    handle.remove()
    return accuracy


most_missed = 0
"""

DISTANCE = "torch.cdist(X.flatten(1), known.flatten(1)).amin(dim=1)"

QUIET = "maps[:, k] = maps[:, k].mean()"

WRONG = {
    "4.1": [
        (but(TURNED, ("= 1,", "= 0,")), "no choice"),
        (but(TURNED, ("= 1,", "= 2,")), "upper edges"),
        (but(TURNED, ("= 1,", "= 5,")), "turned, too"),
        (but(TURNED, ("= 1,", "= 3,")), "torch.allclose"),
        (but(TURNED, ("{1: 2, 2: 4, 3: 2", "{1: 5, 2: 5, 3: 5")), "step of 1 or 3"),
        (but(TURNED, ("2: 4", "2: 5")), "step of 1 behind"),
        (but(TURNED, ("{1: 2, 2: 4, 3: 2, 4: 5}", "{1: 1, 2: 1, 3: 1, 4: 1}")), "none of which does"),
        (but(TURNED, ("2: 4", "2: 3")), "Moved by 2"),
        (but(TURNED, ("1: 2", "1: 5")), "step of 1 or 3"),
        (but(TURNED, ("3: 2", "3: 5")), "step of 1 or 3"),
        (but(TURNED, ("{1: 2, 2: 4, 3: 2, 4: 5}", "[2, 4, 2, 5]")), "a dict"),
        (but(TURNED, ("{1: 2, 2: 4, 3: 2, 4: 5}", "[2, 4, 1, 3]")), "a dict"),
        (but(TURNED, (", 4: 5", "")), "a dict"),
        (but(TURNED, ("= 1,", "= ['picture'],")), "The first answer should be a number"),
        (but(TURNED, ("2: 4", "2: '4'")), "The answer for a step of 2"),
        (but(TURNED, ("2: 4", "2: [4]")), "The answer for a step of 2"),
    ],
    "4.2": [
        (but(SILENT, (QUIET, "pass")), "go on as they came"),
        (but(SILENT, (QUIET, "maps[:, k] = 0")), "a loud no"),
        (but(SILENT, (QUIET, "maps[:, k] = 0.5")), "write a half"),
        (but(SILENT, (QUIET, "maps[:, k] = 0.3")), "Something else than map k alone"),
        (but(SILENT, ("    maps = net", "    return 0.5\n    maps = net")), "should go through the layers"),
        (but(SILENT, (QUIET, "maps[:, k] = net[:2](X)[:, k].mean().sigmoid()")), "before the sigmoid"),
        (but(SILENT, (QUIET, "maps[k] = maps[k].mean()")), "picture number k"),
        (but(SILENT, (QUIET, "maps[:, k] = maps.mean()")), "all six maps"),
        (but(SILENT, (QUIET, "maps[:, k] = maps[:, k].mean(dim=(1, 2), keepdim=True)")), "for every picture"),
        (but(SILENT, (QUIET, "maps[:, k] = maps[:, k].mean(dim=0)")), "average garment"),
        (but(SILENT, (QUIET, "net[1].weight.data[k] = 0; maps = net[:3](X)")), "other weights"),
        (but(SILENT, (QUIET, "for j in set(range(6)) - {k}: maps[:, j] = maps[:, j].mean()")), "five others"),
        (but(SILENT, ("    return (", "    return 100 * (")), "as a fraction"),
        (but(SILENT, (".mean().item()", ".sum().item()")), "as a fraction"),
        (but(SILENT, ("most_missed = 0", "most_missed = 5")), "than without that one"),
        (but(SILENT, ("most_missed = 0", "most_missed = 6")), "0 to 5"),
        (but(SILENT, ("most_missed = 0", "most_missed = 'the first'")), "The second answer should be a number"),
        (but(SILENT, ("    return (", "    return k, (")), "What your function returns"),
        (but(SILENT, (".float().mean().item()", ".float()")), "What your function returns"),
        (but(HOOK, ("    handle.remove()\n", "")), "other answers than before"),
        (but(SILENT, ("    return (net[3:](maps)", "    net[3:](maps)\n    return (net(X)")), "all six of them"),
        (but(SILENT, ("== y)", "== y[0])")), "not the share of right answers"),
        (
            but(
                BEHIND,
                ("    maps[:, k] =", "    answers = net[4:](maps).argmax(dim=1)\n    maps[:, k] ="),
                ("net[4:](maps).argmax(dim=1) ==", "answers =="),
            ),
            "go on as they came",
        ),
        (but(SILENT, ("    maps = net[:3](X)", "    net.double()\n    maps = net[:3](X.double())")), "other weights"),
        (
            but(
                SILENT,
                ("    return (net[3:](maps)", "    last = net[-1]\n    del net[-1]\n    return (last(net[3:](maps))"),
            ),
            "other weights",
        ),
    ],
    "4.3": [
        (but(CALIBRATION, ("logits / temperature", "logits * temperature")), "You multiply"),
        (but(CALIBRATION, ("softmax(dim=1)", "softmax()")), "error in your line 3, `p = (logits"),
        (but(CALIBRATION, ("logits / temperature", "logits.div_(temperature)")), "changes the logits"),
        (but(CALIBRATION, ("    return float", "    labels.zero_()\n    return float")), "changes the labels"),
        (but(CALIBRATION, ("logits / temperature", "logits")), "makes no difference"),
        (but(CALIBRATION, ("(logits / temperature).softmax(dim=1)", "logits.softmax(dim=1) / temperature")), "no more"),
        (but(CALIBRATION, (".abs()", "")), "make up for each other"),
        (but(CALIBRATION, ("inside.sum() / len(labels)", "1 / len(bins.unique())")), "bin of three"),
        (but(CALIBRATION, ("bins = (", "confidence = p.gather(1, labels[:, None])[:, 0]\n    bins = (")), "can't know"),
        (but(CALIBRATION, ("bins.unique()", "range(10)"), ("(confidence * 10)", "(confidence * 5)")), "empty bin"),
        (but(CALIBRATION, ("float(error)", "100 * float(error)")), "per cent"),
        (but(CALIBRATION, ("float(error)", "round(float(error), 2)")), "right but for rounding"),
        (but(CALIBRATION, ("/ len(labels)", "/ (len(labels) - 1)")), "is another number"),
        (but(CALIBRATION, ("1.15", "1.0")), "network is too sure"),
        (but(CALIBRATION, ("1.15", "1.5")), "network is too modest"),
        (but(CALIBRATION, ("1.15", "1e-40")), "network is too sure"),
        (but(CALIBRATION, ("1.15", "0.0")), "above 0"),
        (but(CALIBRATION, ("1.15", "float('nan')")), "above 0"),
        (but(CALIBRATION, ("changed = 1.15, 0", "changed = 1.15, 300")), "Only the last answer"),
        (but(CALIBRATION, ("1.15", "float('inf')")), "network is too modest"),
        (but(CALIBRATION, ("1.15", "1e50")), "network is too modest"),
        *(
            (but(CALIBRATION, ("* 10)", f"* {bins})"), ("max=9", f"max={bins - 1}")), "is another number")
            for bins in (5, 8, 12, 15, 20)
        ),
        *(
            (but(CALIBRATION, ("float(error)", wrong)), "What your function returns")
            for wrong in ("(error, T)".replace("T", "temperature"), "str(error)", "[error]", "right")
        ),
        (but(CALIBRATION, ("1.15", "'about 1.15'")), "The temperature should be"),
        (but(CALIBRATION, ("changed = 1.15, 0", "changed = 1.15, '0'")), "The last answer should be"),
    ],
    "4.4": [
        (but(BOTH, ("last - first + 1", "last - first")), "How wide is one window"),
        (but(BOTH, ("start + max(i, j) * step", "start + min(i, j) * step")), "Count what they share"),
        (but(BOTH, ("side + (k - 1) * step", "max(side, k)")), "makes the field"),
        (but(BOTH, ("step * s\n", "step\n")), "With a stride"),
        (but(BOTH, ("max(last - first + 1, 0)", "last - first + 1")), "negative number"),
        (but(BOTH, ("max(last - first + 1, 0)", "abs(last - first + 1)")), "nothing in common"),
        (but(BOTH, ("max(i, j)", "j"), ("min(i, j)", "i")), "which of the two"),
        (but(BOTH, ("start - p * step", "start")), "At the edge"),
        (
            but(BOTH, ("min(start + min(i, j) * step + side - 1, size - 1)", "start + min(i, j) * step + side - 1")),
            "At the far edge",
        ),
        (but(BOTH, ("1, 1, 0\n", "1, 1, 0\n    if i == j:\n        return 0\n")), "How wide is one window"),
        (but(BOTH, ("max(last - first + 1, 0)", "list(range(first, last + 1))")), "should be a number"),
        (but(BOTH, ("max(last - first + 1, 0)", "set(range(first, last + 1))")), "should be a number"),
        (but(BOTH, ("max(last - first + 1, 0)", "range(first, last + 1)")), "should be a number"),
        (but(BOTH, ("max(last - first + 1, 0)", "str(last - first + 1)")), "should be a number"),
    ],
    "4.5": [
        (but(ALARM, (DISTANCE, "-net(X).softmax(dim=1).amax(dim=1)")), "hardly an alarm"),
        (but(ALARM, (DISTANCE, "torch.zeros(len(X))")), "hardly an alarm"),
        (but(ALARM, (DISTANCE, "X.mean(dim=(1, 2, 3))")), "tell shuffled pixels"),
        (but(ALARM, (DISTANCE, f"({DISTANCE} > 8.5).float()")), "tell shuffled pixels"),
        (but(ALARM, (DISTANCE, "-" + DISTANCE)), "wrong way round"),
        (
            but(
                ALARM, ("return torch.cdist(X.flatten(1), known.flatten(1))", "return torch.cdist(net(X), net(known))")
            ),
            "tell noise",
        ),
        (but(ALARM, ("amin(dim=1)", "amin(dim=0)")), "it returns ("),
        (but(ALARM, (DISTANCE, "'strange'")), "it returns a str"),
        (but(ALARM, ("amin(dim=1)", "topk(2)")), "it returns a topk"),
        (but(ALARM, (DISTANCE, "(X - X.mean(dim=0)).flatten(1).norm(dim=1)")), "stand for itself"),
        (
            but(
                ALARM,
                ("    return", "    X, known = ((P - P.mean()) / P.std() for P in (X, known))\n    return"),
                (DISTANCE, DISTANCE + " / 784"),
            ),
            "stand for itself",
        ),
        (but(ALARM, (DISTANCE, "X.flatten(1).log().sum(dim=1)")), "For 100 pictures, some scores are NaN"),
        (
            but(ALARM, ("return " + DISTANCE, f"d = {DISTANCE}; return (d - d.mean()) / (d.max() - d.min())")),
            "For one picture alone, the score is NaN",
        ),
    ],
}

LEARNING = """
def alarm(net, known, X):
    mean = known.mean(dim=0).requires_grad_()
    (mean - known).square().mean().backward()  # as one does who trains something on the known ones
    return torch.cdist(X.flatten(1), known.flatten(1)).amin(dim=1) + mean.grad.sum()
"""

RIGHT = {
    "4.2": [
        but(SILENT, ("    maps = net", "    net = copy.deepcopy(net)\n    maps = net")).replace(
            "\ndef", "import copy\n\ndef", 1
        ),
        BEHIND,
        HOOK,
        but(SILENT, ("    return (", "    return round(("), (".item()", ".item(), 3)")),
        but(SILENT, ("    return (", "    before = (net(X).argmax(dim=1) == y).float().mean()\n    return (")),
        but(SILENT, ("    return (", "    left = (")).replace(
            ".item()\n", ".item()\n    whole = (net(X).argmax(dim=1) == y).float().mean()\n    return left\n", 1
        ),
        but(
            SILENT,
            (
                "    return (net[3:](maps).argmax(dim=1) == y)",
                "    parts = map(net[3:], maps.split(77))\n"
                "    return (torch.cat([part.argmax(dim=1) for part in parts]) == y)",
            ),
        ),
    ],
    "4.3": [
        but(CALIBRATION, ("1.15", "1.07")),
        but(CALIBRATION, ("float(error)", "round(float(error), 4)")),
    ],
    "4.5": [
        LEARNING,
        but(ALARM, (DISTANCE, DISTANCE + " > 7")),
        but(ALARM, ("    return", "    X *= 2\n    known *= 2\n    return")),
        but(ALARM, (DISTANCE, "torch.cdist(X[:, 0].flatten(1), known[:, 0].flatten(1)).amin(dim=1)")),
        but(
            ALARM,
            (DISTANCE, "torch.cdist(net[:3](X).flatten(1), net[:3](known).flatten(1)).amin(dim=1).numpy()"),
        ),
        but(ALARM, ("amin(dim=1)", "amin(dim=1).tolist()")),
        but(
            ALARM,
            ("    return", "    known *= 2\n    net[1] = nn.Identity()\n    return"),
            ("X.flatten(1)", "2 * X.flatten(1)"),
        ).replace("\ndef", "from torch import nn\n\ndef", 1),
        but(ALARM, ("    return", "    known = known[torch.randperm(len(known))[:500]]\n    return")),
    ],
}
