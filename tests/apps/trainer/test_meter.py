"""The meter: bytes and work of graphs small enough to count by hand."""

import pytest
import torch

from apps.trainer.meter import HEAP_LIMIT, Meter, Work

KB = 1024
"""Bytes of the 256 float32 numbers that every vector here has."""


def vector(**options: bool) -> torch.Tensor:
    return torch.ones(256, **options)


def test_a_view_adds_nothing_and_a_freed_tensor_takes_its_bytes_along():
    meter = Meter()
    with meter.watching():
        kept = vector()
        seen = kept.view(16, 16).t()
        assert meter.live_bytes == KB
        dropped = kept + 1
        assert meter.live_bytes == 2 * KB
        del dropped
        assert meter.live_bytes == KB
        del kept
        assert meter.live_bytes == KB  # the view still holds the storage
        del seen
    assert meter.live_bytes == 0
    assert meter.peak_bytes == 2 * KB


def test_what_autograd_saves_counts_until_the_backward_pass_is_over():
    weight = vector(requires_grad=True)
    meter = Meter()
    meter.hold([weight])
    with meter.watching():
        loss = weight.exp().sin().sum()  # exp saves its result; sin saves its input, the same tensor
        assert meter.live_bytes == KB + KB + 4
        loss.backward()
        del loss
    assert meter.live_bytes == KB + KB  # weight and gradient
    assert weight.grad is not None


def test_a_chain_without_gradients_holds_two_tensors_at_a_time():
    meter = Meter()
    with meter.watching(), torch.no_grad():
        x = vector()
        for _ in range(10):
            x = x + 1
    assert meter.peak_bytes == 2 * KB
    assert meter.churned_bytes == 11 * KB


def test_checkpointing_holds_less_and_works_more():
    from torch.utils.checkpoint import checkpoint

    def block(x: torch.Tensor) -> torch.Tensor:
        return x.exp().sin().exp().sin()

    def run(*, checkpointing: bool) -> Meter:
        x, meter = vector(requires_grad=True), Meter()
        with meter.watching():
            for _ in range(4):
                x = checkpoint(block, x, use_reentrant=False) if checkpointing else block(x)
            x.sum().backward()
        return meter

    plain, thrifty = run(checkpointing=False), run(checkpointing=True)
    assert thrifty.peak_bytes < plain.peak_bytes
    assert thrifty.work.operations > plain.work.operations


def test_tied_tensors_are_held_once():
    meter, weight = Meter(), vector()
    meter.hold([weight, weight, weight.view(2, 128)])
    assert meter.live_bytes == KB


def test_products_and_sums_of_a_matrix_product_are_counted():
    meter = Meter()
    with meter.watching():
        torch.ones(8, 16) @ torch.ones(16, 4)
    assert meter.work.flops == 2 * 8 * 16 * 4


def test_attention_on_the_cpu_is_counted_and_needs_no_table_of_all_pairs():
    meter, length = Meter(), 512
    q = torch.ones(1, 2, length, 16)
    with meter.watching():
        torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    assert meter.work.flops == 2 * 2 * length * length * 16 * 2  # scores and their mean, two heads
    assert meter.peak_bytes < 2 * length * length * 4


def test_large_pieces_leave_no_holes_behind():
    meter = Meter()
    with meter.watching():
        torch.empty(HEAP_LIMIT // 4)
        torch.empty(100)
    assert meter.churned_bytes == 400


def test_a_mask_with_data_selects_rows_of_a_tensor_without():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        values = torch.empty(1, 3, 5)
    meter = Meter()
    with meter.watching():
        chosen = values[torch.tensor([[True, False, True]])]
    assert chosen.shape == (2, 5)


@pytest.mark.parametrize("factor", [0, 0.5, 3])
def test_work_scales(factor: float):
    work = Work(flops=10, moved_bytes=20, operations=40)
    assert work.times(factor) == Work(round(10 * factor), round(20 * factor), round(40 * factor))
