"""Typical wrong answers to the exercises of notebook 3, each with a piece of what the check says to it."""

from answers import but

PREDICTED = "loss, accuracy, steps, last = 2.3, 0.1, 938, 32\n"
SOFTMAX = """
broken = d2l.lenet().append(nn.Softmax(dim=1))
lowest = 1.461
"""

SUMS = """
class Sums:
    def __init__(self, n):
        self.values = [0.0] * n

    def add(self, *values):
        if len(values) != len(self.values):
            raise ValueError(f"expected {len(self.values)} values, got {len(values)}")
        values = [v.detach() if torch.is_tensor(v) else v for v in values]
        self.values = [a + b for a, b in zip(self.values, values)]

    def reset(self):
        self.values = [0.0] * len(self.values)

    def __getitem__(self, i):
        return float(self.values[i])
"""

REFUSED = """        if len(values) != len(self.values):
            raise ValueError(f"expected {len(self.values)} values, got {len(values)}")
"""
KEPT = "        kept = self.values[len(values):]\n"
VALUES = "        values = [v.detach() if torch.is_tensor(v) else v for v in values]\n"
ADDED = "        self.values = [a + b for a, b in zip(self.values, values)]\n"
IN_PLACE = """
class Sums:
    def __init__(self, n):
        self.n = n
        self.reset()

    def reset(self):
        self.values = None

    def add(self, *values):
        if len(values) != self.n:
            raise ValueError(f"expected {self.n} values, got {len(values)}")
        values = [v.detach() if torch.is_tensor(v) else v for v in values]
        if self.values is None:
            self.values = values
            return
        for i in range(self.n):
            self.values[i] += values[i]

    def __getitem__(self, i):
        return float(self.values[i]) if self.values else 0.0
"""

QUEUE = """
import collections


class Sums:
    def __init__(self, n):
        self.kept = [collections.deque([0.0]) for _ in range(n)]

    def add(self, *values):
        if len(values) != len(self.kept):
            raise ValueError(f"expected {len(self.kept)} values, got {len(values)}")
        for mine, value in zip(self.kept, values):
            mine.append(value)

    def reset(self):
        self.__init__(len(self.kept))

    def __getitem__(self, i):
        return float(sum(self.kept[i]))
"""

TENSOR = """
class Sums:
    def __init__(self, n):
        self.n = n
        self.reset()

    def reset(self):
        self.values = torch.zeros(self.n, dtype=torch.float64)

    def add(self, *values):
        if len(values) != self.n:
            raise ValueError
        values = [torch.as_tensor(v, dtype=torch.float64).detach().reshape(()) for v in values]
        self.values = self.values + torch.stack(values)

    def __getitem__(self, i):
        return self.values[i].item()
"""

EVALUATE = """
def evaluate_accuracy(net, data_iter):
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    right = seen = 0
    with torch.inference_mode():
        for X, y in data_iter:
            right += (net(X).argmax(dim=1) == y).sum().item()
            seen += len(y)
    for module, mode in modes:
        module.training = mode
    return right / seen
"""
RESTORE = """    for module, mode in modes:
        module.training = mode
"""

COUNT = "            right += (net(X).argmax(dim=1) == y).sum().item()\n"
LABELS_LOST = """            y -= net(X).argmax(dim=1)
            right += (y == 0).sum()
"""
BY_CHILDREN = """    for module, mode in modes:
        if module is net or module in net.children():
            module.train(mode)
"""

SHIFTED = f"""{RESTORE}    with torch.no_grad():
        for p in net.parameters():
            p += 1
"""
HOOKED = """    net.eval()
    net[-1].register_forward_hook(lambda *given: None)
"""
ON_A_COPY = """
import copy

def evaluate_accuracy(net, data_iter):
    net = copy.deepcopy(net).eval()
    right = seen = 0
    with torch.no_grad():
        for X, y in data_iter:
            right += (net(X).argmax(dim=1) == y).sum()
            seen += len(y)
    return right / seen
"""

CONFUSION = """
def confusion_matrix(net, data_iter, num_classes=10):
    table = torch.zeros(num_classes, num_classes, dtype=torch.long)
    with torch.inference_mode():
        for X, y in data_iter:
            answers = net(X).argmax(dim=1)
            for label, answer in zip(y, answers):
                table[label, answer] += 1
    return table
"""
ZEROS = "torch.zeros(num_classes, num_classes, dtype=torch.long)"
ONE_HOT = """
def confusion_matrix(net, data_iter, num_classes=10):
    one_hot = torch.nn.functional.one_hot
    return sum(one_hot(y, num_classes).T @ one_hot(net(X).argmax(dim=1), num_classes) for X, y in data_iter)
"""
ONE_BY_ONE = """            for label, answer in zip(y, answers):
                table[label, answer] += 1
"""
PLACES_IN_LABELS = """            y *= num_classes
            y += answers
            table += y.bincount(minlength=num_classes**2).reshape(table.shape)
"""

BY_FUNCTION = """
class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = d2l.lenet()

    def forward(self, X):
        *layers, last = self.net
        for layer in layers:
            X = layer(X)
        return nn.functional.linear(X, last.weight, last.bias).softmax(dim=1)


broken, lowest = Broken(), 1.46
"""

READS = [
    *("print(v)", "f'{v.sum():.3f}'", "complex(v)", "v.numpy()", "v.tolist()", "v.untyped_storage()"),
    *("v.equal(v + 1)", "v.allclose(v + 1)", "v.is_nonzero()", "v > 0 or 1"),
    *("v.to('cpu', torch.float64)", "torch.tensor([v, 0.0])"),
    *("v.to(torch.device('cpu'))", "v.to(torch.zeros(1))", "v.type('torch.FloatTensor')", "v.type(torch.FloatTensor)"),
    *("v.nonzero()", "v.argwhere()", "v.unique()", "v.unique_consecutive()"),
    *("v[v > 0]", "torch.masked_select(v, v > 0)", "torch.where(v > 0)"),
]
OWN_DEVICE = "[v.to(v.device).to(v) for v in map(torch.as_tensor, values)]"

WRONG = {
    "3.1": [
        (but(PREDICTED, ("2.3", "0")), "or everything"),
        (but(PREDICTED, ("2.3", "1.0")), "base 10"),
        (but(PREDICTED, ("2.3", "3.32")), "in bits"),
        (but(PREDICTED, ("2.3", "5")), "loss is not right"),
        (but(PREDICTED, ("2.3", "10**400")), "loss is not right"),
        (but(PREDICTED, ("0.1", "10")), "fraction"),
        (but(PREDICTED, ("0.1", "0")), "know a lot"),
        (but(PREDICTED, ("0.1", "0.5")), "doesn't look"),
        (but(PREDICTED, ("938", "937.5")), "half a step"),
        (but(PREDICTED, ("938", "937")), "never be seen"),
        (but(PREDICTED, ("938", "939")), "number of steps is not"),
        (but(PREDICTED, ("938", "235")), "how many batches"),
        (but(PREDICTED, ("938", "157")), "number of test batches"),
        (but(PREDICTED, ("938", "60_000")), "a step for each picture"),
        (but(PREDICTED, ("32", "64")), "full batches"),
        (but(PREDICTED, ("32", "96")), "left with batches"),
        (but(PREDICTED, ("32", "0")), "would not be a batch"),
        (but(PREDICTED, ("32", "16")), "left of the test pictures"),
        (but(PREDICTED, ("32", "31")), "Only the last batch"),
    ],
    "3.2": [
        (but(SOFTMAX, ("Softmax(dim=1)", "Softmax(dim=0)")), "over the pictures of the batch"),
        (but(SOFTMAX, ("Softmax(dim=1)", "LogSoftmax(dim=1)")), "does no harm"),
        (but(SOFTMAX, (".append(nn.Softmax(dim=1))", "")), "no probabilities"),
        (but(SOFTMAX, (".append(nn.Softmax(dim=1))", ".insert(12, nn.Softmax(dim=1))")), "Where does it stand"),
        (but(SOFTMAX, ("Softmax(dim=1)", "Sigmoid()")), "as a softmax's do"),
        (
            "broken = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softmax(dim=1)); lowest = 1.46",
            "no longer LeNet",
        ),
        (but(SOFTMAX, ("\nlowest", "\nbroken[12] = nn.Linear(84, 9)\nlowest")), "yours gives ("),
        (but(SOFTMAX, ("\nlowest", "\nbroken.append(nn.Flatten(0))\nlowest")), "yours gives ("),
        (but(SOFTMAX, ("\nlowest", "\nbroken.insert(12, nn.Dropout(0.5))\nlowest")), "no longer LeNet"),
        (but(SOFTMAX, ("Softmax(dim=1)", "Softmin(dim=1)")), "not the softmax of the ten scores"),
        (
            but(SOFTMAX, ("nn.Softmax(dim=1)", "nn.Softmax(dim=1)).append(nn.Softmax(dim=1)")),
            "not the softmax of the ten scores",
        ),
        *(
            (but(SOFTMAX, ("\nlowest", f"\nbroken[{i}] = nn.Identity()\nlowest")), "no longer LeNet")
            for i in (2, 5, 9, 11)
        ),
        (but(SOFTMAX, ("1.461", "0.0")), "far above"),
        (but(SOFTMAX, ("1.461", "2.303")), "knows nothing"),
        (but(SOFTMAX, ("1.461", "2.4612")), "of the sum alone"),
        (but(SOFTMAX, ("1.461", "1.3026")), "counts in the sum"),
        (but(SOFTMAX, ("1.461", "0.6346")), "is the natural one"),
        (but(SOFTMAX, ("1.461", "1.8")), "Give `cross_entropy` a perfect"),
    ],
    "3.3": [
        (but(SUMS, ("v.detach()", "float(v)")), "would wait"),
        (but(SUMS, ("v.detach()", "v.detach().cpu()")), "would wait"),
        (but(SUMS, ("v.detach()", "v.detach().to('cpu')")), "would wait"),
        (but(SUMS, ("v.detach()", "v.detach().to(device='cpu')")), "would wait"),
        *(
            (but(SUMS, (VALUES, f"{VALUES}        [{read} for v in map(torch.as_tensor, values)]\n")), "would wait")
            for read in READS
        ),
        *(
            (but(SUMS, (VALUES, f"{VALUES}        torch.{name}(values)\n")), "would wait")
            for name in ("tensor", "as_tensor", "asarray")
        ),
        (IN_PLACE, "in place"),
        (but(SUMS, ("v.detach()", "v.detach_()")), "in place"),
        (but(SUMS, (ADDED, "        self.values += values\n")), "It refuses two values"),
        (but(SUMS, ("return float", "float")), "Reading a sum returns nothing"),
        (but(SUMS, ("return float(self.values[i])", "return str(self.values[i])")), "What reading a sum gives"),
        (but(SUMS, ("return float(self.values[i])", "return self.values")), "What reading a sum gives"),
        (SUMS + "\nSums = Sums(2)", "The class itself"),
        (but(SUMS, ("v.detach()", "v")), "how it was computed"),
        (
            but(SUMS, ("v.detach()", "v"), ("class Sums:", "class Sums:\n    __slots__ = ['values']")),
            "how it was computed",
        ),
        (QUEUE, "how it was computed"),
        *(
            (but(SUMS, (VALUES, f"        self.last = {kept}\n{VALUES}")), "how it was computed")
            for kept in ("values", "dict(enumerate(values))")
        ),
        (but(SUMS, (VALUES, f"        torch.set_grad_enabled(False)\n{VALUES}")), "switched off for everybody"),
        (but(SUMS, ("!= len(self.values)", "< 0")), "one value was"),
        (but(SUMS, ("!= len(self.values)", "< len(self.values)")), "three values were"),
        (but(SUMS, ("float(self.values[i])", "self.values[i]")), "gives a tensor"),
        (but(SUMS, ("float(self.values[i])", "float(self.values[i]) if i else self.values[i]")), "gives a tensor"),
        (but(SUMS, ("a + b", "b")), "sums of both"),
        (
            but(SUMS, ('raise ValueError(f"expected {len(self.values)} values, got {len(values)}")', "assert False")),
            "is AssertionError",
        ),
        (but(SUMS, ("        self.values = [0.0] * len(self.values)", "        self.n = 0")), "not zero"),
        (
            but(
                SUMS,
                (
                    "    def __init__(self, n):\n        self.values = [0.0] * n",
                    "    values = []\n\n    def __init__(self, n):\n        self.values[:] = [0.0] * n",
                ),
                ("        self.values = [a + b", "        self.values[:] = [a + b"),
            ),
            "share",
        ),
        (but(SUMS, ("a + b", "a + int(b)")), "by a half"),
        (but(SUMS, ("a + b", "a + abs(b)")), "sums of both"),
        (but(SUMS, ("v.detach()", "v.detach().abs()")), "tensors of one number are not"),
        (but(SUMS, (REFUSED, KEPT), (ADDED, f"{ADDED}        self.values += kept\n{REFUSED}")), "that was refused"),
        (
            but(SUMS, ("= [0.0] * len(self.values)", "= [0.0] * len(self.values); self.add = lambda *values: None")),
            "After `reset`, sums",
        ),
    ],
    "3.4": [
        (
            but(
                EVALUATE,
                ("            seen += len(y)\n", "            seen += len(y)\n            return right / seen\n"),
            ),
            "first batch only",
        ),
        (but(EVALUATE, ("    net.eval()\n", "")), "dropout throws dice"),
        (but(EVALUATE, (RESTORE, "")), "stays in evaluation mode"),
        (but(EVALUATE, (RESTORE, "    net.train()\n")), "on purpose"),
        (but(EVALUATE, (RESTORE, RESTORE + "    net.training = True\n")), "in training mode now"),
        (but(EVALUATE, ("in data_iter", "in data_iter[:-1]")), "looks at 128"),
        (but(EVALUATE, ("inference_mode", "enable_grad")), "builds a graph"),
        (but(EVALUATE, ("right / seen", "right")), "number of right answers"),
        (but(EVALUATE, ("right / seen", "right, seen")), "What your function returns"),
        (but(EVALUATE, ("right / seen", "str(right / seen)")), "What your function returns"),
        *(
            (but(EVALUATE, ("right / seen", f"round(right / seen, {places})")), "right but for rounding")
            for places in (2, 4)
        ),
        (but(EVALUATE, ("argmax(dim=1)", "softmax(dim=0).argmax(dim=1)")), "not the fraction right"),
        (
            but(EVALUATE, ("inference_mode", "enable_grad"), ("net.eval()", "net.eval().requires_grad_(False)")),
            "or too much",
        ),
        (but(EVALUATE, (RESTORE, RESTORE + "    net.requires_grad_(True)\n")), "or too much"),
        (but(EVALUATE, (RESTORE, SHIFTED)), "other weights"),
        (but(EVALUATE, (RESTORE, RESTORE + "    torch.set_grad_enabled(False)\n")), "switched off"),
        (but(EVALUATE, ("    net.eval()\n", HOOKED)), "A hook"),
        (but(EVALUATE, (RESTORE, BY_CHILDREN)), "on purpose"),
        (but(EVALUATE, (COUNT, LABELS_LOST)), "in the batches"),
        (but(EVALUATE, ("right / seen", "100 * right / seen")), "per cent"),
        (but(EVALUATE, (".sum().item()", ".float().mean().item()"), ("len(y)", "1")), "one of 7 pictures"),
        (but(EVALUATE, ("right += ", "right = "), ("seen += ", "seen = ")), "last batch"),
        (but(EVALUATE, ("right / seen", "right / (len(data_iter) * len(data_iter[0][1]))")), "as large as the first"),
        (but(EVALUATE, ("    return right / seen", "")), "returns nothing"),
        (but(EVALUATE, ("argmax(dim=1)", "argmax(dim=0)")), "The size of tensor a (10)"),
    ],
    "3.5": [
        (but(CONFUSION, ("[label, answer]", "[answer, label]")), "exchanged"),
        (but(CONFUSION, (ONE_BY_ONE, "            table[y, answers] += 1\n")), "the last one wins"),
        (
            but(CONFUSION, ("return table", "return table / table.sum(dim=1, keepdim=True).clamp(min=1)")),
            "Every row adds",
        ),
        (but(CONFUSION, ("return table", "return table / table.sum(dim=1, keepdim=True)")), "Every row adds"),
        (but(CONFUSION, ("return table", "return table / table.sum(dim=0, keepdim=True)")), "Every column adds"),
        (but(CONFUSION, ("return table", "return table / table.sum()")), "All places add"),
        (but(CONFUSION, ("return table", "return table * torch.nan")), "place by place"),
        (but(CONFUSION, ("return table", "return torch.stack([table.sum(0)] * 7)")), "All rows of your table"),
        (but(CONFUSION, (ONE_BY_ONE, ONE_BY_ONE + "            return table\n")), "first batch only"),
        (
            but(CONFUSION, ("for X, y in data_iter:\n", "for X, y in data_iter:\n            table.zero_()\n")),
            "the last batch",
        ),
        (but(CONFUSION, ("table[label, answer] += 1", "table[label, label] += label == answer")), "Only the right"),
        (but(CONFUSION, ("(num_classes, num_classes,", "(10, 10,")), "should be (7, 7)"),
        (but(CONFUSION, ("+= 1", "+= 2")), "place by place"),
        (but(CONFUSION, ("+= 1", "+= 0")), "place by place"),
        (but(CONFUSION, ("torch.long", "torch.uint8")), "and then starts again"),
        (but(CONFUSION, ("torch.long", "torch.int8")), "and then starts again"),
        (but(CONFUSION, (ZEROS, "torch.zeros(7, 7)")), "with eight"),
        (but(CONFUSION, (ONE_BY_ONE, but(PLACES_IN_LABELS, ("y *= num_classes", "y = 7 * y")))), "with eight"),
        (but(CONFUSION, (ONE_BY_ONE, PLACES_IN_LABELS)), "in the batches"),
        (but(CONFUSION, ("    return table", "    X.zero_()\n    return table")), "in the batches"),
        (
            but(
                CONFUSION,
                ("    return table", "    for p in net.parameters():\n        p.data.zero_()\n    return table"),
            ),
            "other weights",
        ),
        (but(CONFUSION, ("    return table", "    torch.set_grad_enabled(False)\n    return table")), "switched off"),
        (but(CONFUSION, (ZEROS, "[[0] * num_classes] * num_classes"), (", answer]", "][answer]")), "same list"),
        (but(CONFUSION, ("return table", "return 'table'")), "no table"),
        (but(CONFUSION, ("return table", "return table, table.sum()")), "no table"),
        (
            but(CONFUSION, ("return table", "import collections\n    return collections.Counter(y.tolist())")),
            "no table",
        ),
    ],
}

RIGHT = {
    "3.2": [*(but(SOFTMAX, ("\nlowest", f"\nbroken.{kind}()\nlowest")) for kind in ("double", "half")), BY_FUNCTION],
    "3.3": [
        but(SUMS, ("a + b", "b + torch.as_tensor(a).to(torch.as_tensor(b).device)")),
        but(SUMS, (VALUES, f"{VALUES}        values = {OWN_DEVICE}\n")),
        but(SUMS, (VALUES, ""), ("    def add", "    @torch.no_grad()\n    def add")),
        TENSOR,
        but(TENSOR, ("torch.stack(values)", "torch.stack(values)[torch.arange(self.n)]")),
    ],
    "3.4": [ON_A_COPY],
    "3.5": [
        but(CONFUSION, ("return table", "return table.tolist()")),
        but(CONFUSION, ("return table", "return list(table)")),
        but(CONFUSION, ("torch.long", "torch.int16")),
        but(CONFUSION, ("torch.long", "torch.float32")),
        but(CONFUSION, ("return table", "return table.numpy()")),
        but(CONFUSION, ("    return table", "    net.eval()\n    return table")),  # nobody asked for the mode
        but(CONFUSION, ("for X, y in data_iter:", "while data_iter:\n            X, y = data_iter.pop()")),
        ONE_HOT,
    ],
}
