"""WithIndex: samples with their numbers, and a data set that otherwise stays what it was."""

import copy
import pickle
from collections import namedtuple
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from impsamp_fast.dataset import WithIndex

X, Y = torch.arange(6.0), torch.arange(6) % 2


class Mappings(TensorDataset):
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.tensors[0][index]}


class Sample(NamedTuple):
    x: Tensor
    y: Tensor


class Pictures(Dataset):
    """Has what data sets of pictures have besides samples."""

    classes = ("even", "odd")

    def __init__(self) -> None:
        self.targets = Y.tolist()
        self.transform = None

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Sample:
        x = X[index]
        return Sample(x if self.transform is None else self.transform(x), Y[index])

    def class_of(self, index: int) -> str:
        return self.classes[self.targets[index]]


class TestSamples:
    def test_adds_the_number_to_a_tuple(self):
        data = WithIndex(TensorDataset(X, Y))
        assert len(data) == 6
        assert data[3] == (3.0, 1, 3)

    def test_adds_a_key_to_a_mapping(self):
        assert WithIndex(Mappings(X))[3] == {"x": 3.0, "index": 3}

    def test_makes_a_tuple_of_anything_else(self):
        assert WithIndex(X)[3] == (3.0, 3)
        assert WithIndex("abc")[1] == ("b", 1)

    @pytest.mark.parametrize("batched", [True, False])
    def test_is_collated_by_a_loader(self, batched):
        class Fetching(TensorDataset):
            def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, ...]]:
                self.fetched = indices
                return [self[index] for index in indices]

        data = (Fetching if batched else TensorDataset)(X, Y)
        x, y, index = next(iter(DataLoader(WithIndex(data), batch_size=4)))
        assert torch.equal(index, torch.arange(4))
        assert torch.equal(x, X[:4])
        assert torch.equal(y, Y[:4])
        assert getattr(data, "fetched", [0, 1, 2, 3]) == [0, 1, 2, 3]

    def test_does_not_hide_a_key(self):
        data = WithIndex([{"index": 5}])
        with pytest.raises(ValueError, match='have a key "index" already'):
            data[0]

    def test_needs_samples_with_numbers(self):
        class Stream(IterableDataset):
            def __iter__(self):
                return iter(range(3))

        for data in (Stream(), iter([1, 2])):
            with pytest.raises(TypeError, match="expected a map-style data set"):
                WithIndex(data)


class TestNamedTuples:
    def test_get_a_field(self):
        sample = WithIndex(Pictures())[3]
        assert isinstance(sample, tuple)
        assert type(sample).__name__ == "Sample"
        assert sample._fields == ("x", "y", "index")
        assert (sample.x, sample.y, sample.index) == sample == (3.0, 1, 3)

    def test_have_one_type_however_many_there_are(self):
        data, other = WithIndex(Pictures()), WithIndex(Pictures())
        assert type(data[0]) is type(data[1]) is type(other[0])

    @pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "fork"), (1, "spawn")])
    def test_are_collated_by_field(self, workers, context):
        options = {"num_workers": workers, "multiprocessing_context": context}
        loader = DataLoader(WithIndex(Pictures()), batch_size=4, **options)
        batch = next(iter(loader))
        assert torch.equal(batch.x, X[:4])
        assert torch.equal(batch.y, Y[:4])
        assert torch.equal(batch.index, torch.arange(4))

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_are_pickled(self, protocol):
        sample = WithIndex(Pictures())[3]
        loaded = pickle.loads(pickle.dumps(sample, protocol))
        assert loaded == sample
        assert type(loaded) is type(sample)
        assert copy.deepcopy(sample) == sample

    def test_keep_fields_without_a_name(self):
        unnamed = namedtuple("unnamed", ("x", "class"), rename=True)
        assert WithIndex([unnamed(1, 2)])[0]._asdict() == {"x": 1, "_1": 2, "index": 0}

    def test_do_not_hide_a_field(self):
        numbered = namedtuple("numbered", ("x", "index"))
        with pytest.raises(ValueError, match="numbered, have a field index already"):
            WithIndex([numbered(1, 2)])[0]


class TestAttributes:
    def test_are_those_of_the_data_set(self):
        data = WithIndex(Pictures())
        assert data.classes == ("even", "odd")
        assert data.targets == Y.tolist()
        assert data.class_of(3) == "odd"
        assert {"targets", "class_of", "dataset", "__len__"} <= set(dir(data))

    def test_are_set_where_the_data_set_sees_them(self):
        data = WithIndex(Pictures())
        data.transform = torch.neg
        assert data.dataset.transform is torch.neg
        assert data[3] == (-3.0, 1, 3)

    def test_that_there_are_not_are_named(self):
        data = WithIndex(Pictures())
        assert not hasattr(data, "labels")
        with pytest.raises(AttributeError, match="'Pictures' object has no attribute 'labels'"):
            _ = data.labels

    def test_survive_pickling_and_copying(self):
        data = WithIndex(Pictures())
        data.targets = [1] * 6
        copies = [pickle.loads(pickle.dumps(data)), copy.copy(data), copy.deepcopy(data)]
        for one in copies:
            assert type(one) is WithIndex
            assert one.targets == [1] * 6
            assert one[3] == (3.0, 1, 3)
        assert copies[1].dataset is data.dataset
        assert copies[2].dataset is not data.dataset

    def test_do_not_recur_before_there_is_a_data_set(self):
        empty = WithIndex.__new__(WithIndex)
        with pytest.raises(AttributeError, match="WithIndex has no attribute 'dataset'"):
            _ = empty.classes

    def test_of_the_wrapper_are_its_own(self):
        data, other = WithIndex(Pictures()), Pictures()
        data.dataset = other
        assert data.dataset is other
