"""Choosing, splitting, limiting, labelling and centring, over generated data."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from perturblearn.config.data import OutputsOfClasses
from perturblearn.data import Dataset, Outline, RawData, prepare
from perturblearn.data.draws import stratified_counts
from perturblearn.errors import DataError

NAMES = ("a", "b", "c", "d", "2")


def raw_data(counts: list[int], heldout: list[int] | None = None, *, targets: bool = False) -> RawData:
    """Byte images whose first pixel is the class and whose others number the sample."""

    def part(numbers: list[int], offset: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.repeat_interleave(torch.arange(len(numbers)), torch.tensor(numbers))
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(offset))]
        serial = torch.arange(len(labels)) + offset
        inputs = torch.stack([labels, serial // 256, serial % 256], dim=1).to(torch.uint8)
        return inputs.reshape(-1, 1, 1, 3), labels

    inputs, labels = part(counts, 0)
    held_inputs, held_labels = (None, None) if heldout is None else part(heldout, 10_000)
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=NAMES[: len(counts)],
        value_range=(0.0, 1.0),
        mean=0.25,
        heldout_inputs=held_inputs,
        heldout_labels=held_labels,
        given_targets=(labels + 1) % len(counts) if targets else None,
    )


def serials(data: Dataset) -> tuple[list[int], list[int]]:
    def of(inputs: torch.Tensor) -> list[int]:
        pixels = ((inputs.flatten(1) + data.mean) * 255).round().long()
        return (256 * pixels[:, 1] + pixels[:, 2]).tolist()

    return of(data.inputs), of(data.heldout_inputs)


COUNTS = st.lists(st.integers(1, 30), min_size=2, max_size=5)


@settings(max_examples=60)
@given(counts=COUNTS, share=st.floats(0.01, 0.99), seed=st.integers(0, 2**63 - 1))
def test_a_drawn_split_is_stratified_and_complete(counts: list[int], share: float, seed: int) -> None:
    raw = raw_data(counts)
    if max(counts) == 1:
        with pytest.raises(
            DataError, match="every class has a single sample, so none can be held out; give at least two"
        ):
            prepare(raw, heldout_share=share, seed=seed)
        return
    data = prepare(raw, heldout_share=share, seed=seed)
    training, heldout = serials(data)
    assert sorted(training + heldout) == list(range(sum(counts)))
    assert training == sorted(training)
    for label, count in zip(data.label_values, counts, strict=True):
        held = int((data.heldout_labels == label).sum())
        assert held == (0 if count == 1 else min(max(1, round(share * count)), count - 1))
    assert data.content_hash() == prepare(raw, heldout_share=share, seed=seed).content_hash()


@settings(max_examples=60)
@given(counts=COUNTS, data=st.data())
def test_limits_keep_shares_and_every_class(counts: list[int], data: st.DataObject) -> None:
    limit = data.draw(st.integers(len(counts), sum(counts)))
    prepared = prepare(raw_data(counts, counts), n_samples=limit, seed=1)
    assert prepared.n_samples == limit
    assert prepared.n_heldout == sum(counts)
    for label, count in zip(prepared.label_values, counts, strict=True):
        assert 1 <= int((prepared.labels == label).sum()) <= count


@given(counts=st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(any), data=st.data())
def test_shared_out_is_proportional(counts: list[int], data: st.DataObject) -> None:
    present = sum(count > 0 for count in counts)
    total = data.draw(st.integers(present, sum(counts)))
    taken = stratified_counts(counts, total)
    assert sum(taken) == total
    for count, number in zip(counts, taken, strict=True):
        assert min(1, count) <= number <= count
        # The classes' guaranteed samples can cost others at most one each.
        assert abs(number - total * count / sum(counts)) < 1 + present


@settings(max_examples=40)
@given(chosen=st.permutations(range(5)), number=st.integers(2, 5))
def test_classes_in_the_order_asked_for(chosen: list[int], number: int) -> None:
    # The fifth class is called "2": the name wins over the index.
    wanted = [index for index in chosen if index != 2][:number]
    spelled = [NAMES[index] if place % 2 else {4: "4"}.get(index, str(index)) for place, index in enumerate(wanted)]
    if len(wanted) < 2:
        return
    data = prepare(raw_data([4, 5, 6, 7, 8], targets=False), classes=spelled)
    assert data.class_names == tuple(NAMES[index] for index in wanted)
    pixel = ((data.inputs[:, 0] + data.mean) * 255).round().long().tolist()
    assert [wanted[data.label_values.index(label)] for label in data.labels.tolist()] == pixel


def test_a_name_wins_over_an_index() -> None:
    assert prepare(raw_data([3] * 5), classes=["2", "a"]).class_names == ("2", "a")
    assert prepare(raw_data([3] * 3), classes=["2", "a"]).class_names == ("c", "a")


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (["a", "z"], r"no class 'z' in these data; choose among a \(0\), b \(1\), c \(2\)"),
        (["a", "3"], "no class '3'"),
        (["a", "-1"], "no class '-1'"),
        (["b", "1"], "names the class 'b' twice"),
        (["a"], "the data have 1 class"),
    ],
)
def test_classes_that_cannot_be_chosen(wanted: list[str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        prepare(raw_data([3, 3, 3]), classes=wanted)


OUTPUTS = (("a", (5,)), ("b", (0, 3)), ("c", (9,)))


def test_outputs_of_a_network_follow_the_chosen_classes() -> None:
    raw = raw_data([3, 3, 3])
    assert prepare(raw).model_classes is None
    assert prepare(raw, model_classes=OUTPUTS).model_classes == ((5,), (0, 3), (9,))
    assert prepare(raw, model_classes=OUTPUTS, classes=["c", "a"]).model_classes == ((9,), (5,))


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ((*OUTPUTS, ("d", (1,))), "names the class 'd', which these data do not have; the classes are a, b, c"),
        ((*OUTPUTS, ("bb", (1,))), "names the class 'bb', which these data do not have; did you mean 'b'"),
        (OUTPUTS[:2], "has no outputs for the class 'c'; add them, or choose other classes"),
    ],
)
def test_outputs_that_do_not_fit_the_classes(wanted: OutputsOfClasses, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        prepare(raw_data([3, 3, 3]), model_classes=wanted)


def test_two_classes_are_plus_and_minus_one_and_more_are_numbered() -> None:
    assert set(prepare(raw_data([3, 3])).labels.tolist()) == {1, -1}
    assert set(prepare(raw_data([3, 3, 3])).labels.tolist()) == {0, 1, 2}


def test_given_targets_follow_their_samples() -> None:
    data = prepare(raw_data([20, 20, 20], targets=True), n_samples=10)
    assert data.given_targets is not None
    assert torch.equal(data.given_targets, (data.labels + 1) % 3)
    two = prepare(raw_data([20, 20], targets=True))
    assert two.given_targets is not None
    assert torch.equal(two.given_targets, -two.labels)
    with pytest.raises(DataError, match="a given target is the class c, which was not chosen"):
        prepare(raw_data([20, 20, 20], targets=True), classes=["a", "b"])


@pytest.mark.parametrize("centre", [True, False, 0.1, -3])
def test_no_input_leaves_the_range_by_rounding(centre: bool | float) -> None:
    data = prepare(raw_data([250, 200]), centre=centre)
    low, high = data.value_range
    assert low <= float(data.inputs.min())
    assert float(data.inputs.max()) <= high
    assert data.mean == (centre if not isinstance(centre, bool) else 0.25 if centre else 0.0)
    # One subtraction in float32.
    assert high - low == pytest.approx(1.0, abs=2.0**-22)


def test_errors_of_limits_and_shares() -> None:
    own, none = raw_data([6, 6], [2, 2]), raw_data([6, 6])
    with pytest.raises(DataError, match="n_samples = 13, but there are only 12 training samples; ask for at most 12"):
        prepare(own, n_samples=13)
    with pytest.raises(DataError, match="n_heldout = 5, but there are only 4 held-out samples"):
        prepare(own, n_heldout=5)
    with pytest.raises(DataError, match="n_samples = 1 is too few for 2 classes"):
        prepare(none, n_samples=1)
    with pytest.raises(DataError, match=r"heldout_share = 0.3 does not apply to data that have a held-out part"):
        prepare(own, heldout_share=0.3)
    with pytest.raises(DataError, match="no training samples of class b"):
        prepare(raw_data([6, 0], [2, 2]))
    with pytest.raises(
        DataError, match="the held-out part has no samples of the classes a, b; add some, or choose other"
    ):
        prepare(raw_data([6, 6, 6], [0, 0, 2]), classes=["a", "b"])
    with pytest.raises(DataError, match="centre = inf is not finite"):
        prepare(none, centre=float("inf"))


def test_limits_of_one_part_do_not_move_the_other() -> None:
    raw = raw_data([30, 40])
    full, limited = prepare(raw, seed=5), prepare(raw, n_samples=10, seed=5)
    assert torch.equal(full.heldout_inputs, limited.heldout_inputs)
    assert set(serials(limited)[0]) < set(serials(full)[0])


def test_provenance_tells_what_was_done() -> None:
    data = prepare(raw_data([30, 40]), n_samples=10, seed=5, provenance={"name": "made up"})
    assert data.provenance["name"] == "made up"
    assert data.provenance["split"] == "drawn"
    assert data.provenance["n_samples"] == 10
    assert "made up: 10 training + 14 held-out inputs of 3" in repr(data)


def with_groups(counts: list[int], heldout: list[int] | None = None, n_groups: int = 4) -> RawData:
    """As `raw_data`, where a sample's group follows from its number."""
    raw = raw_data(counts, heldout)

    def groups_of(inputs: torch.Tensor | None) -> torch.Tensor | None:
        return None if inputs is None else inputs.flatten(1)[:, 2].long() % n_groups

    names = tuple(f"g{index}" for index in range(n_groups))
    return replace(raw, groups=groups_of(raw.inputs), heldout_groups=groups_of(raw.heldout_inputs), group_names=names)


def named_groups(data: Dataset) -> tuple[list[str], list[str]]:
    assert data.groups is not None
    assert data.heldout_groups is not None
    training, heldout = ([data.group_names[index] for index in part] for part in (data.groups, data.heldout_groups))
    return training, heldout


@settings(max_examples=60)
@given(counts=st.lists(st.integers(2, 12), min_size=2, max_size=5), own=st.booleans(), draw=st.data())
def test_groups_follow_their_samples(counts: list[int], own: bool, draw: st.DataObject) -> None:
    raw = with_groups(counts, counts if own else None, n_groups=draw.draw(st.integers(1, 9)))
    wanted = [str(NAMES[index]) for index in draw.draw(st.permutations(range(len(counts))))[:2]]
    n_samples = draw.draw(st.none() | st.just(2))
    data = prepare(raw, classes=wanted, n_samples=n_samples, seed=1)
    for numbers, names in zip(serials(data), named_groups(data), strict=True):
        # The third pixel, which names the group, is the serial number modulo 256.
        assert names == [f"g{number % 256 % len(raw.group_names)}" for number in numbers]
    kept = {name for names in named_groups(data) for name in names}
    assert data.group_names == tuple(name for name in raw.group_names if name in kept)


def test_groups_change_nothing_else() -> None:
    plain, grouped = prepare(raw_data([20, 30]), n_samples=10), prepare(with_groups([20, 30]), n_samples=10)
    assert replace(grouped, groups=None, heldout_groups=None).content_hash() == plain.content_hash()
    assert Outline.of(grouped) == Outline.of(plain)


def test_groups_of_one_part_are_refused() -> None:
    raw = replace(with_groups([6, 6], [2, 2]), heldout_groups=None)
    with pytest.raises(DataError, match="only one part of the data has groups"):
        prepare(raw)


def test_a_class_with_a_single_sample_is_only_trained_on() -> None:
    data = prepare(raw_data([1, 5, 5]))
    assert (data.n_samples, data.n_heldout) == (9, 2)
    assert sorted(set(data.labels.tolist())) == [0, 1, 2]
    assert sorted(set(data.heldout_labels.tolist())) == [1, 2]


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_what_was_read_is_not_changed_by_preparing_or_by_its_users(kind: torch.dtype) -> None:
    raw = with_groups([5, 6], [3, 3])
    assert raw.heldout_inputs is not None
    raw = replace(raw, inputs=raw.inputs.to(kind), heldout_inputs=raw.heldout_inputs.to(kind))
    raw = replace(raw, given_targets=raw.labels.clone())
    before = {name: value.clone() for name, value in vars(raw).items() if isinstance(value, torch.Tensor)}
    data = prepare(raw, centre=0.0)
    for value in vars(data).values():
        if isinstance(value, torch.Tensor):
            value.fill_(9)
    assert before
    for name, value in before.items():
        assert torch.equal(getattr(raw, name), value), name
