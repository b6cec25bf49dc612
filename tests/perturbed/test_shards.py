"""Perturbed sets in parts: whichever parts are made, and in whichever order, they are the parts of one set."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import Attack, AttackContext, AttackResult, make_attack
from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import AttackConfig, OneStepConfig, TwoLayerConfig
from perturblearn.data import Dataset
from perturblearn.data.bands import Band
from perturblearn.perturbed import PerturbedSet, draw_sources, perturb, set_size, shard_ranges, sources_of, targets_of
from perturblearn.perturbed.shards import block_rows, blocks_in
from perturblearn.seeding import derive_seed
from perturblearn.store import ArtefactStore, Drafts

DIM, SMALL = 6, 16
N, M, NOISE, SEARCHED = 53, 37, 41, 19


def made() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    signs = torch.tensor([1, -1])
    return Dataset(
        inputs=torch.rand(N, DIM, generator=generator) * 2 - 1,
        labels=signs[torch.randint(2, (N,), generator=generator)],
        heldout_inputs=torch.rand(M, DIM, generator=generator) * 2 - 1,
        heldout_labels=signs[torch.randint(2, (M,), generator=generator)],
        value_range=(-1.0, 1.0),
        class_names=("+1", "-1"),
        given_targets=signs[torch.randint(2, (N,), generator=generator)],
    )


DATA = made()


def network(hidden_dim: int, dtype: torch.dtype = torch.float32) -> Classifier:
    return Classifier(initialise(TwoLayerConfig(hidden_dim=hidden_dim, slope=0.1), DIM, seed=0, role="f").to(dtype))


WIDE, NARROW = network(10), network(4)
PGD: dict[str, Any] = {"name": "pgd", "norm": "linf", "steps": 3}
WAYS: dict[str, dict[str, Any]] = {
    **{f"one step, {source}": {"source": source} for source in ("natural", "none", "uniform", "gauss")},
    "one step, linf": {"norm": "linf"},
    "one step, l0": {"norm": "l0", "pixels": 2, "source": "uniform"},
    "as many noise sources as samples": {"source": "gauss", "n_sources": None},
    "other targets": {"targets": "other"},
    "next targets": {"targets": "next"},
    "given targets": {"targets": "given"},
    "given targets of noise": {"targets": "given", "source": "uniform"},
    "radial": {"name": "radial_pgd", "steps": 3},
    "radial l0": {"name": "radial_pgd", "norm": "l0", "pixels": 2, "epsilon": 1.0},
    "pgd": PGD,
    "pgd from random points": {**PGD, "random_start": True, "restarts": 2},
    "pgd of noise": {**PGD, "random_start": True, "source": "uniform"},
    "minimum norm": {"name": "minimum_norm", "steps": 3},
}


def attack_of(way: str) -> AttackConfig:
    keys = {"epsilon": 0.4, **WAYS[way]}
    if keys.get("source") in ("uniform", "gauss"):
        keys.setdefault("n_sources", NOISE)
    return AttackConfig.model_validate(keys)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perturblearn.perturbed.shards.BLOCK", SMALL)
    monkeypatch.setattr("perturblearn.perturbed.shards.HELDOUT_SOURCES", SEARCHED)


def columns(found: PerturbedSet) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in fields(found)}


def same(one: PerturbedSet, other: PerturbedSet) -> None:
    """Equal to the bit, in everything that a set holds."""
    others = columns(other)
    for name, value in columns(one).items():
        if isinstance(value, Tensor):
            assert isinstance(others[name], Tensor), name
            assert torch.equal(value, others[name]), name
        else:
            assert value == others[name], name


def partitions(count: int) -> Iterator[list[range]]:
    """Every way to cut a set between its blocks."""
    cuts = range(SMALL, count, SMALL)
    for chosen in itertools.product([False, True], repeat=len(cuts)):
        ends = [0, *(cut for cut, is_cut in zip(cuts, chosen, strict=True) if is_cut), count]
        yield [range(start, stop) for start, stop in itertools.pairwise(ends)]


@pytest.mark.parametrize("heldout", [False, True], ids=["training", "held-out"])
@pytest.mark.parametrize(("way", "f"), [*((way, WIDE) for way in WAYS), ("one step, none", NARROW)])
def test_any_partition_gives_the_bits_of_the_whole(way: str, f: Classifier, heldout: bool) -> None:
    attack = attack_of(way)
    count = set_size(attack, N, M, heldout=heldout)
    whole = perturb(f, DATA, attack, seed=3, heldout=heldout)
    assert len(whole) == count
    assert (whole.factors is not None) == (f is NARROW)
    ways = list(partitions(count))
    assert len(ways) >= 2
    for parts in ways:
        found = [perturb(f, DATA, attack, seed=3, heldout=heldout, rows=rows) for rows in parts]
        sources = torch.cat([part.sources for part in found if part.sources is not None])
        same(replace(PerturbedSet.joined(found, count), sources=sources, basis=whole.basis), whole)
        for rows, part in zip(parts, found, strict=True):
            some = slice(rows.start, rows.stop)
            assert torch.equal(part.inputs, whole.inputs[some])
            assert torch.equal(part.target_labels, targets_of(DATA, attack, seed=3, heldout=heldout)[some])
            assert torch.equal(part.target_labels, targets_of(DATA, attack, seed=3, heldout=heldout, rows=rows))
            if part.factors is not None:
                assert torch.equal(part.inputs, torch.cat([
                    part.factors[0][block.start - rows.start : block.stop - rows.start] @ part.factors[1]
                    for block in blocks_in(rows, DIM)
                ]))  # fmt: skip


@pytest.mark.parametrize("way", ["one step, natural", "one step, none", "pgd"])
def test_zero_gradients_of_all_parts_are_counted(way: str) -> None:
    # One unit that is alive on x_0 > 0 alone.
    half = Classifier(TwoLayer(torch.eye(1, DIM), torch.ones(1), torch.zeros(1), 0.0))
    attack = attack_of(way)
    dead = DATA.inputs[:, 0] <= 0
    found = [perturb(half, DATA, attack, seed=3, rows=rows) for rows in blocks_in(range(N), DIM)]
    counts = [int(dead[start : start + SMALL].sum()) for start in range(0, N, SMALL)]
    assert min(counts) > 0
    assert [part.zero_gradients for part in found] == counts
    assert perturb(half, DATA, attack, seed=3).zero_gradients == sum(counts)


def test_what_the_order_of_making_is_does_not_matter() -> None:
    attack = attack_of("pgd of noise")
    whole = perturb(WIDE, DATA, attack, seed=3)
    shuffled = [range(32, 41), range(16), range(16, 32), range(16), range(32, 41)]
    for rows in shuffled:
        assert torch.equal(perturb(WIDE, DATA, attack, seed=3, rows=rows).inputs, whole.inputs[rows.start : rows.stop])


@pytest.mark.parametrize("way", ["one step, natural", "one step, none", "one step, uniform"])
def test_the_block_changes_no_more_than_rounding(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = attack_of(way)
    f, data = network(10, torch.float64), DATA.to(dtype=torch.float64)
    small = perturb(f, data, attack, seed=3)
    monkeypatch.setattr("perturblearn.perturbed.shards.BLOCK", 1024)
    large = perturb(f, data, attack, seed=3)
    assert torch.equal(small.target_labels, large.target_labels)
    # A dozen roundings of numbers below 10 in either order of summation.
    assert torch.allclose(small.inputs, large.inputs, rtol=0, atol=24 * 10 * 2**-53)


@pytest.mark.parametrize("heldout", [False, True], ids=["training", "held-out"])
@pytest.mark.parametrize("way", ["radial", "pgd from random points", "minimum norm"])
def test_each_block_is_a_search_of_its_own(way: str, heldout: bool) -> None:
    """The set against the attack called by hand, block by block."""
    attack = attack_of(way)
    found = perturb(WIDE, DATA, attack, seed=3, heldout=heldout)
    sources = sources_of(DATA, attack, seed=3, heldout=heldout)
    of_part = derive_seed(3, "search", "heldout" if heldout else "training")
    count = len(found)
    assert found.sizes is not None
    for start in range(0, count, SMALL):
        rows = slice(start, min(start + SMALL, count))
        context = AttackContext(DATA.value_range, seed=derive_seed(of_part, "part", str(start)))
        by_hand = make_attack(attack, DIM).search(WIDE.module, sources.inputs[rows], found.target_labels[rows], context)
        assert torch.equal(found.inputs[rows], by_hand.inputs)
        assert torch.equal(found.success[rows], by_hand.success)
        assert torch.equal(found.sizes[rows], by_hand.sizes)


def test_blocks_start_at_random_points_of_their_own() -> None:
    same_everywhere = replace(DATA, inputs=DATA.inputs[:1].expand(N, -1).clone(), labels=DATA.labels[:1].expand(N))
    attack = AttackConfig.model_validate({**PGD, "epsilon": 0.4, "steps": 1, "random_start": True, "targets": "next"})
    found = perturb(WIDE, same_everywhere, attack, seed=3).inputs
    assert not torch.equal(found[:SMALL], found[SMALL : 2 * SMALL])


# Noise. Whole draws of torch come in groups of 16 values; of a last piece below that, normal ones differ.
@pytest.mark.parametrize("source", ["uniform", "gauss"])
@pytest.mark.parametrize("count", [3, 16, 19, 32, 53])
@pytest.mark.parametrize("shape", [(6,), (1, 2, 3), (7,)], ids=str)
def test_noise_is_one_draw_of_torch(source: str, count: int, shape: tuple[int, ...]) -> None:
    data = replace(DATA, inputs=torch.zeros(N, *shape), heldout_inputs=torch.zeros(M, *shape), value_range=(0.0, 1.0))
    drawn = draw_sources(OneStepConfig(source=source), data, heldout=False, count=count, seed=5).inputs
    draw = torch.rand if source == "uniform" else torch.randn
    assert torch.equal(drawn, draw(count, *shape, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("source", ["uniform", "gauss"])
@pytest.mark.parametrize("count", [33, 53])
def test_noise_in_any_order(source: str, count: int) -> None:
    def drawn(rows: range | None, seed: int = 5) -> Tensor:
        return draw_sources(OneStepConfig(source=source), DATA, heldout=False, count=count, seed=seed, rows=rows).inputs

    blocks = blocks_in(range(count), DIM)
    whole, other = drawn(None), drawn(None, seed=6)
    assert not torch.equal(whole, other)
    forwards = list(blocks)
    orders = {
        "forwards": forwards,
        "backwards": forwards[::-1],
        "twice": [block for block in forwards for _ in range(2)],
        "again from the start": forwards + forwards,
        "longer and longer": [range(block.stop) for block in forwards],
        "shorter and shorter": [range(block.start, count) for block in forwards],
    }
    for name, order in orders.items():
        for rows in order:
            assert torch.equal(drawn(rows), whole[rows.start : rows.stop]), name
    for rows in forwards:  # two sets by turns
        for seed, expected in ((5, whole), (6, other)):
            assert torch.equal(drawn(rows, seed), expected[rows.start : rows.stop])


def test_sets_of_other_sizes_and_shapes_share_a_seed() -> None:
    """What was drawn last belongs to one seed, kind and shape, and to whichever rows begin where it ended."""
    flat, images = (
        DATA,
        replace(DATA, inputs=DATA.inputs.view(N, 1, 2, 3), heldout_inputs=DATA.heldout_inputs.view(M, 1, 2, 3)),
    )
    expected = {
        (source, data.inputs.ndim): draw_sources(
            OneStepConfig(source=source), data, heldout=False, count=48, seed=5
        ).inputs
        for source in ("uniform", "gauss")
        for data in (flat, images)
    }
    for start in (0, 16, 32):
        for source, data in itertools.product(("uniform", "gauss"), (flat, images)):
            rows = range(start, start + 16)
            drawn = draw_sources(OneStepConfig(source=source), data, heldout=False, count=48, seed=5, rows=rows).inputs
            assert torch.equal(drawn, expected[source, data.inputs.ndim][start : start + 16])
    # The same sequence, longer.
    long = draw_sources(OneStepConfig(source="gauss"), flat, heldout=False, count=64, seed=5).inputs
    assert torch.equal(long[:48], expected["gauss", 2])


def test_what_follows_is_drawn_without_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    rows_drawn: list[int] = []
    randn = torch.randn

    def counting(shape: torch.Size, **keys: Any) -> Tensor:
        rows_drawn.append(shape[0])
        return randn(shape, **keys)

    monkeypatch.setattr(torch, "randn", counting)
    for rows in (range(32), range(32, 48), range(48, 53)):
        draw_sources(OneStepConfig(source="gauss"), DATA, heldout=False, count=53, seed=5, rows=rows)
    assert rows_drawn == [16, 16, 16, 5]
    rows_drawn.clear()
    draw_sources(OneStepConfig(source="gauss"), DATA, heldout=False, count=53, seed=5, rows=range(32, 48))
    assert rows_drawn == [16, 16, 16]  # the first two blocks are drawn again, to come to the third


@pytest.mark.parametrize(
    ("attack", "training", "heldout"),
    [
        ({}, 53, 37),
        ({"source": "gauss"}, 53, 37),
        ({"source": "gauss", "n_sources": 7}, 7, 37),
        ({"name": "pgd"}, 53, 19),
        ({"name": "pgd", "source": "uniform", "n_sources": 100}, 100, 19),
    ],
    ids=str,
)
def test_set_size(attack: dict[str, Any], training: int, heldout: int) -> None:
    config = AttackConfig.model_validate(attack)
    assert set_size(config, N, M, heldout=False) == training
    assert set_size(config, N, M, heldout=True) == heldout
    assert set_size(config, N, 3, heldout=True) == 3


@pytest.fixture
def blocks_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perturblearn.perturbed.shards.BLOCK", 1024)


@pytest.mark.usefixtures("blocks_as_they_are")
@pytest.mark.parametrize(
    ("input_dim", "rows"),
    # 2^28 bytes are 2^26 numbers: 65,536 in each of 1,024 rows.
    [(1, 1024), (784, 1024), (3072, 1024), (65_536, 1024), (65_537, 512), (150_528, 256), (2**22, 16), (2**40, 16)],
)
def test_block_rows(input_dim: int, rows: int) -> None:
    assert block_rows(input_dim) == rows


@pytest.mark.usefixtures("blocks_as_they_are")
@pytest.mark.parametrize(
    ("count", "input_dim", "ends"),
    [
        (1, 784, [1]),
        (1024, 784, [1024]),
        (1025, 784, [1025]),
        (8191, 784, [8191]),
        (8192, 784, [8192]),
        (8193, 784, [8192, 8193]),
        (60_000, 784, [8192, 16_384, 24_576, 32_768, 40_960, 49_152, 57_344, 60_000]),
        # 2^27 bytes are 32 MiB of numbers: 8 blocks of up to 4,096 coordinates, then fewer, at last one.
        (8193, 4096, [8192, 8193]),
        (8193, 4097, [7168, 8193]),
        (3000, 16_385, [1024, 2048, 3000]),
        (3000, 65_536, [1024, 2048, 3000]),
        (1100, 65_537, [512, 1024, 1100]),
        (33, 2**40, [16, 32, 33]),
    ],
)
def test_shard_ranges(count: int, input_dim: int, ends: list[int]) -> None:
    starts = [0, *ends[:-1]]
    assert shard_ranges(count, input_dim) == [range(start, stop) for start, stop in zip(starts, ends, strict=True)]


@pytest.mark.usefixtures("blocks_as_they_are")
@pytest.mark.parametrize("input_dim", [1, 3, 784, 5000, 65_537, 10**6])
def test_shards_are_whole_blocks(input_dim: int) -> None:
    step = block_rows(input_dim)
    for count in (1, 15, 16, 17, step - 1, step, step + 1, 3 * step, 8 * step + 1, 20_011):
        ranges = shard_ranges(count, input_dim)
        assert [row for rows in ranges for row in (rows.start, rows.stop)][1:-1:2] == [r.start for r in ranges[1:]]
        blocks = [block for rows in ranges for block in blocks_in(rows, input_dim)]
        # The blocks of the shards are the blocks of the set.
        assert blocks == blocks_in(range(count), input_dim)
        assert [len(block) for block in blocks[:-1]] == [step] * (len(blocks) - 1)
        assert (ranges[0].start, ranges[-1].stop) == (0, count)


def test_samples_from_within_a_block_are_refused() -> None:
    with pytest.raises(AssertionError, match="from within a block"):
        perturb(WIDE, DATA, attack_of("one step, natural"), seed=0, rows=range(3, 20))


@dataclass(frozen=True, eq=False)
class Counted(Attack):
    """An attack whose searches are counted, of which the one after so many is interrupted."""

    calls: Calls
    attack: Attack

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        if len(self.calls.rows) == self.calls.most:
            raise KeyboardInterrupt
        self.calls.rows.append(len(sources))
        return self.attack.search(module, sources, targets, context)


class Calls:
    """Counts the searches of `perturb`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int | None = None) -> None:
        self.rows: list[int] = []
        self.most = most
        # The room re-exports the function under its module's name.
        monkeypatch.setattr(sys.modules[perturb.__module__], "make_attack", self)

    def __call__(self, config: AttackConfig, input_dim: int, *, band: Band | None) -> Attack:
        attack = make_attack(config, input_dim, band=band)
        return Counted(attack.norm, attack.epsilon, self, attack)


def artefacts(store: ArtefactStore) -> int:
    return len(list(store.folder.glob("artefacts/*/*")))


@pytest.mark.parametrize("way", ["pgd of noise", "pgd from random points", "minimum norm"])
@pytest.mark.parametrize("first", [0, 16])
def test_an_interrupted_search_goes_on_from_its_last_block(
    way: str, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = attack_of(way)
    rows = range(first, set_size(attack, N, M, heldout=False))
    sizes = [len(block) for block in blocks_in(rows, DIM)]
    undisturbed = perturb(WIDE, DATA, attack, seed=3, rows=rows)
    store = ArtefactStore(tmp_path)
    drafts = Drafts(store, "key")
    for done in range(len(sizes)):
        # It is interrupted once in every block, and each life does one.
        calls, drafts = Calls(monkeypatch, 1), Drafts(store, "key")
        if done < len(sizes) - 1:
            with pytest.raises(KeyboardInterrupt):
                perturb(WIDE, DATA, attack, seed=3, rows=rows, drafts=drafts)
        else:
            same(perturb(WIDE, DATA, attack, seed=3, rows=rows, drafts=drafts), undisturbed)
        assert calls.rows == [sizes[done]]
        assert artefacts(store) == done + 1
    drafts.clear()
    assert artefacts(store) == 0


def test_a_damaged_draft_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack, store = attack_of("pgd"), ArtefactStore(tmp_path)
    first = perturb(WIDE, DATA, attack, seed=3, drafts=Drafts(store, "key"))
    damaged = sorted(tmp_path.glob("artefacts/*/*/tensors.safetensors"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    calls = Calls(monkeypatch)
    same(perturb(WIDE, DATA, attack, seed=3, drafts=Drafts(store, "key")), first)
    assert len(calls.rows) == 1


def test_one_block_and_one_step_need_no_drafts(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    perturb(WIDE, DATA, attack_of("pgd"), seed=3, rows=range(16, 32), drafts=Drafts(store, "key"))
    perturb(WIDE, DATA, attack_of("one step, natural"), seed=3, drafts=Drafts(store, "key"))
    assert artefacts(store) == 0


def test_the_words_of_a_search_count_up_to_all_its_blocks(tmp_path: Path) -> None:
    attack, drafts = attack_of("pgd"), Drafts(ArtefactStore(tmp_path), "key")
    heard: list[tuple[int, int, str]] = []
    perturb(WIDE, DATA, attack, seed=3, drafts=drafts, report=lambda *word: heard.append(word))
    done = [word[0] for word in heard]
    assert done == sorted(done)
    (total,) = {word[1] for word in heard}
    assert done[-1] == total
    assert {word[2].split(",")[0] for word in heard} == {f"part {number}/4" for number in (1, 2, 3, 4)}
    count = len(heard)
    perturb(WIDE, DATA, attack, seed=3, drafts=drafts, report=lambda *word: heard.append(word))
    assert len(heard) == count, "what was finished is not searched again"


def test_joined_parts_fill_the_room_that_they_are_given() -> None:
    attack = attack_of("pgd")
    parts = [perturb(WIDE, DATA, attack, seed=3, rows=rows) for rows in (range(32), range(32, 53))]
    room = torch.empty(N, DIM)
    found = PerturbedSet.joined(iter(parts), N, inputs=room)
    assert found.inputs is room
    assert found.sources is None
    same(replace(found, sources=DATA.inputs), perturb(WIDE, DATA, attack, seed=3))
    assert found.zero_gradients == sum(part.zero_gradients for part in parts)
    for wrong in (N - 1, N + 1):
        with pytest.raises((AssertionError, RuntimeError)):
            PerturbedSet.joined(iter(parts), wrong)
    with pytest.raises(AssertionError, match="at least one sample"):
        PerturbedSet.joined(iter([]), 0)
