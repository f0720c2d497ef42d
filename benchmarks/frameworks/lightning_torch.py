"""Lightning: a module, two loaders over images in memory, a Trainer."""

import logging
import time
import warnings

import lightning
import torch
from book_net import make_net
from lightning.pytorch.callbacks import Callback
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class LeNet(lightning.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.net, self.lr = make_net(), lr

    def training_step(self, batch, _):
        X, y = batch
        return F.cross_entropy(self.net(X), y)

    def validation_step(self, batch, _):
        X, y = batch
        self.log("test_acc", (self.net(X).argmax(1) == y).float().mean(), batch_size=len(y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


class Clock(Callback):
    """Seconds from the first batch to the end, without the tests; Lightning's own Timer keeps the last test's only."""

    def on_train_start(self, trainer, module):
        self.seconds = -time.perf_counter()

    def on_validation_start(self, trainer, module):
        self.seconds += time.perf_counter()

    def on_validation_end(self, trainer, module):
        self.seconds -= time.perf_counter()

    def on_train_end(self, trainer, module):
        self.seconds += time.perf_counter()


def train(data, num_epochs, seed, batch_size=256, lr=0.9):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # it recommends worker processes, which would only cost time here
    lightning.seed_everything(seed, verbose=False)
    sets = [TensorDataset(torch.from_numpy(images)[:, None] / 255, torch.from_numpy(labels).long())
            for images, labels in data]  # fmt: skip
    loaders = DataLoader(sets[0], batch_size, shuffle=True), DataLoader(sets[1], batch_size)
    clock = Clock()
    trainer = lightning.Trainer(max_epochs=num_epochs, callbacks=[clock], logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False,
                                num_sanity_val_steps=0)  # fmt: skip
    trainer.fit(LeNet(lr), *loaders)
    return {
        "own_examples_per_sec": num_epochs * len(sets[0]) / clock.seconds,
        "test_acc": float(trainer.callback_metrics["test_acc"]),
    }
