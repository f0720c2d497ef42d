"""Keras on TensorFlow: compile and fit."""

import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers


def make_net():
    return keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="sigmoid"), layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="sigmoid"), layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="sigmoid"), layers.Dense(84, activation="sigmoid"), layers.Dense(10),
    ])  # fmt: skip


class Watch(keras.callbacks.Callback):
    """The seconds of training, without those of testing."""

    seconds = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.seconds += time.perf_counter() - self.begin


def train(data, num_epochs, seed, batch_size=256, lr=0.9):
    """Xavier's (Glorot's) uniform weights are what Keras begins with."""
    keras.utils.set_random_seed(seed)
    (X, y), test = [((images / 255).astype("float32")[..., None], labels) for images, labels in data]
    net, watch = make_net(), Watch()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(lr), loss, metrics=["accuracy"])
    log = net.fit(X, y, batch_size, num_epochs, validation_data=test, validation_batch_size=batch_size,
                  callbacks=[watch], verbose=0)  # fmt: skip
    return {
        "own_examples_per_sec": num_epochs * len(y) / watch.seconds,
        "test_acc": float(log.history["val_accuracy"][-1]),
    }
