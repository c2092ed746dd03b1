"""Data that comes with an installed library: scikit-learn's digits."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded, ImageArrays
from dcbench.datasets.splits import stratified
from dcbench.system.progress import Progress

_TEST_SHARE = 0.2
_SPLIT_SEED = 0


@dataclass(frozen=True)
class DigitsSource:
    """1,797 digits of 8x8 pixels (UCI's optical recognition of handwritten digits, its test part),
    with a fixed split.
    """

    dataset: Dataset

    @property
    def kind(self) -> str:
        return f"scikit-learn {importlib.metadata.version('scikit-learn')}"

    @property
    def description(self) -> str:
        return self.kind

    @property
    def folder(self) -> Path:
        return Path()

    def files(self) -> tuple[Path, ...]:
        return ()

    def read(self, progress: Progress) -> Decoded:
        """Read the digits: values 0 to 16 become round(value / 16 * 255); a fixed stratified fifth
        is the test split.
        """
        from sklearn.datasets import load_digits

        progress(f"reading {self.dataset.name}", 0, 1)
        values, targets = load_digits(return_X_y=True)
        images = np.round(values / 16 * 255).astype(np.uint8).reshape(-1, *self.dataset.shape)
        labels = targets.astype(np.int64)
        test = stratified(labels, round(_TEST_SHARE * len(labels)), _SPLIT_SEED)
        progress(f"reading {self.dataset.name}", 1, 1)
        whole = ImageArrays(images, labels)
        return Decoded(whole.chosen(~test), whole.chosen(test), self.dataset.class_names)
