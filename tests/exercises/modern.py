"""Wrong answers to the exercises of notebook 5."""

SETUP = "from lenet_utils.exercises import modern as judges"
TRAINS = {"5.4"}


def kill(body):
    return f"def kill(net):\n    {body}"


def relu(activation="nn.ReLU", pool="nn.MaxPool2d", between="nn.ReLU()", end="nn.Identity()", first=6):
    return f"""
def relu_lenet():
    return nn.Sequential(
        d2l.Reshape(),
        nn.Conv2d(1, {first}, kernel_size=5, padding=2), {activation}(), {pool}(2),
        nn.Conv2d({first}, 16, kernel_size=5), {activation}(), {pool}(2),
        nn.Flatten(),
        nn.Linear(400, 120), {activation}(), nn.Linear(120, 84), {between}, nn.Linear(84, 10), {end})
"""


def mine(net):
    return f"def my_lenet():\n    return {net}"


LOG = """
class Log(nn.Module):
    def forward(self, X):
        return X.log()


"""

WRONG = {
    "5.1": [
        ("ours, notes = 0.25, 0.25", "one sigmoid lets through"),
        ("ours, notes = 1.0, 0.75", "added the slopes"),
        ("ours, notes = 0.5**4, 0.5**3", "A half is"),
        ("ours, notes = 0.25**3, 0.25**4", "wrong way round"),
        ("ours, notes = 0.25**5, 0.25**4", "counted the layers"),
        ("ours, notes = 0.25**3, 0.25**2", "One too few in both"),
        ("ours, notes = 0.25**2, 0.25", "left out the sigmoids"),
        ("ours, notes = 256, 64", "how many times"),
        ("ours, notes = 0.39, 1.56", "per cent"),
        ("ours, notes = 0.1, 0.2", "Both numbers"),
        ("ours, notes = 0.25**4, 0.25**4", "The first number is right"),
        ("ours, notes = 0.0039, 0.1", "The first number is right"),
        ("ours, notes = 0.1, 0.25**3", "The second number is right"),
        ("ours, notes = 0.1, 0.0156", "The second number is right"),
        ("ours, notes = 'a quarter', 0.1", "without quotation marks"),
        ("ours, notes = '1/256', '1/64'", "without quotation marks"),
        ("ours, notes = '0.00390625', 0.25**3", "without quotation marks"),
        ("ours, notes = 0.25**4, '0.015625'", "without quotation marks"),
    ],
    "5.2": [
        (kill("net.requires_grad_(False)"), "Frozen"),
        (kill("net[1].requires_grad_(False)"), "Frozen"),
        (kill("[nn.init.zeros_(p) for p in net.parameters()]"), "only biases"),
        (kill("net[10].weight = None"), "only biases"),
        (kill("net.double()"), "of another type"),
        (kill("nn.init.constant_(net[1].bias, torch.nan)"), "finite"),
        (kill("nn.init.constant_(net[10].bias, torch.inf)"), "finite"),
        (kill("nn.init.constant_(net[10].bias[0], torch.inf)"), "finite"),
        (kill("net.eval()"), "Nothing has changed"),
        (kill("nn.init.constant_(net[12].bias, 50.0)"), "still gets its gradient"),
        (kill("nn.init.constant_(net[1].bias[0], 100.0)"), "still gets its gradient"),
        (kill("nn.init.constant_(net[10].bias, 12.0)"), "far less gradient"),
        *(
            (
                kill(f"net[3].register_forward_hook(lambda *given: given[2]{end}); nn.init.ones_(net[12].bias)"),
                "something else in the network",
            )
            for end in (" * 0", ".detach()")
        ),
        (kill("net[10].bias += 100"), "keeps account"),
        (kill("net[10].bias = 100"), "in your line 2"),
        (kill("net[10].bias.data = torch.full((84,), 100)"), "in your line 2"),  # whole numbers have no slope
        (kill("net[10].bias.data = torch.tensor(100.0)"), "another shape"),
        ("kill = 'net[10].bias'", "Expected a function"),
        ("kill = d2l.lenet()[10].bias", "Expected a function"),
        ("kill = d2l.lenet()", "That is a network"),
        (kill("return nn.Sequential(d2l.Reshape(), nn.Flatten(), nn.Linear(784, 10))"), "no longer lenet"),
    ],
    "5.3": [
        ("relu_lenet = modern.lenet_with(nn.ReLU, nn.MaxPool2d)", "That is a network"),
        ("relu_lenet = 'ReLU'", "Expected a function"),
        ("def relu_lenet():\n    return nn.Sequential", "never called"),
        ("def relu_lenet():\n    return 'a network'", "and returns str"),
        ("def relu_lenet(net):\n    return net", "missing 1 required"),
        (relu(end="nn.LogSoftmax(dim=1)"), "a log-softmax"),
        (relu(end="nn.Unflatten(1, (2, 5))"), "(5, 2, 5)"),
        (relu().replace("return ", "net = ") + "\n    net.register_forward_hook(lambda *given: (given[2], 0))\n"
         "    return net", "one tensor, and yours returns a tuple"),
        (relu(pool="nn.AvgPool2d"), "still a mean"),
        (relu(activation="nn.Sigmoid", between="nn.Sigmoid()"), "still sigmoids"),
        (relu(between="nn.Sigmoid()"), "Some activations are still"),
        (relu().replace("nn.MaxPool2d", "nn.AvgPool2d", 1), "Some poolings are still"),
        (relu(between="nn.Sigmoid()").replace("nn.MaxPool2d", "nn.AvgPool2d", 1), "Some activations and poolings are"),
        (relu(between="nn.Identity()"), "the note's own"),
        (relu(end="nn.ReLU()"), "behind the last"),
        (relu(end="nn.Softmax(dim=1)"), "there is a softmax"),
        (relu(first=8, end="nn.Identity()").replace("Conv2d(8", "Conv2d(8"), "the shapes of their"),
        ("def relu_lenet():\n    return d2l.lenet()", "as it was"),
        (relu(activation="nn.Tanh", between="nn.Tanh()"), "computes something else"),
        (relu(activation="nn.ReLU6", between="nn.ReLU6()"), "computes something else"),
        (relu().replace("nn.ReLU", "nn.ReLU6", 1), "computes something else"),
        (relu(between="nn.Hardtanh(0, 6)"), "computes something else"),
        (relu(activation="nn.LeakyReLU", between="nn.LeakyReLU()"), "computes something else"),
    ],
    "5.4": [
        ("my_lenet = modern.modern_lenet()", "That is a network"),
        ("my_lenet = 61_706", "Expected a function"),
        (mine("nn.Sequential"), "never called"),
        (mine("nn.Sequential(nn.Linear(784, 10))"), "mat1 and mat2"),
        (mine("nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))"), "more than lenet"),
        (mine("nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"), "below the bar"),
        ("made = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\njudges.accuracy_after_training(made)\n"
         + mine("made"), "below the bar"),
        (mine("nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softmax(dim=1))"), "There is a softmax"),
        (mine("nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).requires_grad_(False)"), "are frozen"),
        (mine("nn.Sequential(nn.Flatten(), nn.Linear(784, 5))"), "(4, 5)"),
        (mine("nn.Sequential(nn.Flatten(), *[nn.Linear(784, 10), nn.Sigmoid()] * 1, *[m for _ in range(9) for m in "
              "(nn.Linear(10, 10), nn.Sigmoid())])"), "learns nothing"),
        (mine("d2l.lenet()"), "learns nothing"),  # as many parameters as are allowed
        (mine("nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Hardtanh(-torch.inf, 1.0), Log())").replace(
            "def", LOG + "def", 1), "stops being a number"),
    ],
    "5.5": [
        ("expected, seeds = 0.1, 5", "for one comparison"),
        ("expected, seeds = 0.55, 5", "two cases"),
        ("expected, seeds = 0.6, 5", "two cases"),
        ("expected, seeds = 0.7, 5", "chance of at least one"),
        ("expected, seeds = 1, 5", "one decimal place is asked"),
        ("expected, seeds = 1.2, 5", "twelve rows"),
        ("expected, seeds = 11, 5", "The first number is another one"),
        ("expected, seeds = 1.1, 3", "own number of seeds"),
        ("expected, seeds = 1.1, 4", "about 0.3"),
        ("expected, seeds = 1.1, 6", "Fewer are enough"),
        ("expected, seeds = 1.1, 7", "Fewer are enough"),
        ("expected, seeds = 1.1, 10", "two rows together"),
        ("expected, seeds = 1.1, 2", "the second isn't"),
        ("expected, seeds = '1.1', 5", "should be a number"),
    ],
}  # fmt: skip

LAZY = (
    relu()
    .replace("nn.Conv2d(1, ", "nn.LazyConv2d(")
    .replace("nn.Conv2d(6, ", "nn.LazyConv2d(")
    .replace("nn.Linear(400, ", "nn.LazyLinear(")
)

KEPT = """
made = modern.lenet_with(nn.ReLU, nn.MaxPool2d)
weights = made[1].weight.clone()


def relu_lenet():
    assert torch.equal(made[1].weight, weights)
    return made
"""

LAZY_MODERN = """
def my_lenet():
    return nn.Sequential(
        nn.LazyConv2d(6, 5, padding=2), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2),
        nn.LazyConv2d(16, 5), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.LazyLinear(100), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(10))
"""

ANY_ORDER = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.top, self.dense = nn.Linear(84, 10), nn.ModuleList([nn.Linear(400, 120), nn.Linear(120, 84)])
        self.second, self.first = nn.Conv2d(6, 16, 5), nn.Conv2d(1, 6, 5, padding=2)

    def forward(self, X):
        for convolution in (self.first, self.second):
            X = torch.nn.functional.max_pool2d(convolution(X).relu(), 2)
        X = X.flatten(1)
        for layer in self.dense:
            X = layer(X).relu()
        return self.top(X)


relu_lenet = Net
"""

SEEDED = """
def my_lenet():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 32, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 36), nn.ReLU(), nn.Linear(36, 10)).apply(modern.init_he)
    net[0].bias.requires_grad_(False)
    return net
"""

DOUBLE = relu().replace("nn.Identity())", "nn.Identity()).double()")

LOG_SOFTMAX = mine("modern.modern_lenet().append(nn.LogSoftmax(dim=1))")

BUFFERED = kill("net[10].register_buffer('shift', torch.tensor(-100.0)); net[10].bias.data += net[10].shift")

RIGHT = {"5.2": [BUFFERED], "5.3": [LAZY, KEPT, ANY_ORDER, DOUBLE], "5.4": [LAZY_MODERN, SEEDED, LOG_SOFTMAX]}
