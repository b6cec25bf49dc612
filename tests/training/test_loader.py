from __future__ import annotations

import pytest
import torch

from perturblearn.training.loader import ResidentLoader, StreamedLoader, fits, make_loader

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_batches_are_the_rows_in_their_order(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    inputs, labels = torch.randn(20, *shape, dtype=dtype), torch.arange(20)
    # As a process's share of larger batches: rows that do not lie side by side.
    order = torch.randperm(20)[:18].view(3, 6)[:, 1::2]
    for loader in (ResidentLoader(inputs, labels, CPU), StreamedLoader(inputs, labels, CPU)):
        seen = 0
        for rows, (part, part_labels) in zip(order, loader.batches(order), strict=True):
            assert torch.equal(part, inputs[rows])
            assert torch.equal(part_labels, labels[rows])
            seen += 1
        assert seen == 3


def test_inputs_that_do_not_lie_side_by_side() -> None:
    inputs, labels = torch.randn(6, 20).T, torch.arange(40)[::2]
    order = torch.tensor([[3, 1], [19, 0]])
    for loader in (ResidentLoader(inputs, labels, CPU), StreamedLoader(inputs, labels, CPU)):
        found = [(part.clone(), part_labels.clone()) for part, part_labels in loader.batches(order)]
        for rows, (part, part_labels) in zip(order, found, strict=True):
            assert torch.equal(part, inputs[rows])
            assert torch.equal(part_labels, labels[rows])


def test_what_lies_in_the_cpu_s_memory_fits() -> None:
    assert fits(2**60, CPU)
    inputs, labels = torch.randn(3, 2), torch.arange(3)
    assert isinstance(make_loader(inputs, labels, CPU), ResidentLoader)
    assert isinstance(make_loader(inputs, labels, CPU, resident=False), StreamedLoader)


def test_a_gpu_holds_data_up_to_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    assert fits(600, torch.device("cuda", 0))
    assert not fits(601, torch.device("cuda", 0))
