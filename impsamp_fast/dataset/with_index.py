"""A data set that tells which of its samples is which."""

from collections.abc import Mapping
from typing import Any, SupportsIndex, final

from torch.utils.data import Dataset, IterableDataset


@final
class WithIndex(Dataset[Any]):
    """Hands out each sample of a data set together with its number.

    A sample that is a tuple or list (x, y) becomes the tuple (x, y, index), a mapping gets the key
    ``"index"``, and anything else becomes (sample, index). A loader makes an int64 tensor [n] of
    the numbers, which is what samplers and a ``Selector`` take as ``index``.

    Args:
        dataset: any map-style data set with a length.

    Raises:
        TypeError: if ``dataset`` is iterable-style: its samples have no numbers.
        ValueError: when a sample is asked for that is a mapping and has a key ``"index"`` already.
    """

    def __init__(self, dataset: Any) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"dataset is {type(dataset).__name__}, expected a map-style data set: the samples "
                "of others have no numbers"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex) -> Any:
        return _with_index(self.dataset[index], index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The samples of a mini-batch, by the data set's own ``__getitems__`` where it has one."""
        if callable(getattr(self.dataset, "__getitems__", None)):
            samples = self.dataset.__getitems__(indices)
        else:
            samples = [self.dataset[index] for index in indices]
        return [_with_index(*pair) for pair in zip(samples, indices, strict=True)]


def _with_index(sample: Any, index: SupportsIndex) -> Any:
    if isinstance(sample, Mapping):
        if "index" in sample:
            raise ValueError(
                'the samples have a key "index" already: rename it, or do without WithIndex if it '
                "is the sample's number"
            )
        return {**sample, "index": index}
    if isinstance(sample, tuple | list):
        return (*sample, index)
    return (sample, index)
