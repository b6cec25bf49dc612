from __future__ import annotations

import io
import json
import math
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from tests.store.killing import printed_by

from perturblearn.errors import StoreError
from perturblearn.store import Artefact, ArtefactStore, DamagedArtefact, file_hash, separate, write_tensors
from perturblearn.store.artefacts import _body_hash

KEY = "ab" * 32
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool)


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "store")


def write(store: ArtefactStore, number: int = 1, **options: Any) -> None:
    store.write(KEY, Artefact({"number": number}, {"x": torch.arange(100)}), origin={"kind": "test"}, **options)


def place(store: ArtefactStore) -> Path:
    return store.folder / "artefacts" / KEY[:2] / KEY


def nothing_left_behind(store: ArtefactStore) -> bool:
    return not store.has(KEY) and not any(path.is_file() and path.name != "format" for path in store.folder.rglob("*"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3, 4)], ids=str)
def test_tensors_come_back_as_they_were(store: ArtefactStore, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.arange(math.prod(shape)) % 2).reshape(shape).to(dtype)
    store.write(KEY, Artefact({}, {"x": tensor}), origin={})
    found = store.read(KEY).tensors["x"]
    assert found.dtype == dtype
    assert found.shape == shape
    assert torch.equal(found, tensor)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[:, 1],
        lambda x: x[::2],
        lambda x: x[1:2],
        lambda x: x[:1].expand(7, -1),
        lambda x: x.clone().requires_grad_(),
    ],
    ids=["transposed", "column", "strided", "slice", "expanded", "parameter"],
)
def test_views_and_parameters_are_written_by_value(store: ArtefactStore, view: Any) -> None:
    tensor = view(torch.arange(12.0).reshape(4, 3))
    store.write(KEY, Artefact({}, {"x": tensor}), origin={})
    assert torch.equal(store.read(KEY).tensors["x"], tensor.detach())


def test_tensors_may_share_memory(store: ArtefactStore) -> None:
    whole = torch.arange(10)
    store.write(KEY, Artefact({}, {"whole": whole, "same": whole, "part": whole[3:]}), origin={})
    found = store.read(KEY).tensors
    assert torch.equal(found["same"], whole)
    assert torch.equal(found["part"], whole[3:])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=20)
@given(content=st.dictionaries(st.text(), json_values))
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    store = ArtefactStore(tmp_path_factory.mktemp("store"))
    store.write(KEY, Artefact(content), origin={})
    assert store.read(KEY) == Artefact(content)


@pytest.mark.parametrize(("replace", "stays"), [(False, 1), (True, 2)])
def test_the_first_artefact_stays_unless_it_is_replaced(store: ArtefactStore, replace: bool, stays: int) -> None:
    write(store, 1)
    write(store, 2, replace=replace)
    assert store.read(KEY).content == {"number": stays}
    assert list((store.folder / "tmp").iterdir()) == []


def test_what_is_not_there_is_a_key_error(store: ArtefactStore) -> None:
    assert not store.has(KEY)
    with pytest.raises(KeyError, match=KEY):
        store.read(KEY)
    assert not store.folder.exists()  # asking makes nothing


def test_removing_twice_is_no_error(store: ArtefactStore) -> None:
    write(store)
    store.remove(KEY)
    store.remove(KEY)
    assert nothing_left_behind(store)


@pytest.mark.parametrize("name", ["tensors.safetensors", "artefact.json"])
def test_a_flipped_bit_is_found_wherever_it_is(store: ArtefactStore, name: str) -> None:
    write(store)
    path = place(store) / name
    intact = path.read_bytes()
    # Every 7th byte, each time another bit: a step with no factor in common with the layout.
    for position in range(0, len(intact), 7):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedArtefact, match="is damaged"):
            store.read(KEY)
    path.write_bytes(intact)
    assert store.read(KEY).content == {"number": 1}


@pytest.mark.parametrize("name", ["tensors.safetensors", "artefact.json"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_found(store: ArtefactStore, name: str, kept: float) -> None:
    write(store)
    path = place(store) / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DamagedArtefact):
        store.read(KEY)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", "{}", '{"sha256": "0"}', '{"sha256": 0, "schema": 1}', "\udcff"]
)
def test_a_record_of_another_form_is_damaged(store: ArtefactStore, text: str) -> None:
    write(store)
    (place(store) / "artefact.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedArtefact):
        store.read(KEY)


def test_a_missing_tensor_file_is_found(store: ArtefactStore) -> None:
    write(store)
    (place(store) / "tensors.safetensors").unlink()
    assert store.has(KEY)
    with pytest.raises(DamagedArtefact):
        store.read(KEY)


@pytest.mark.parametrize("option", ["--out", "--cache-dir"])
def test_a_newer_version_is_told_from_damage(tmp_path: Path, option: str) -> None:
    store = ArtefactStore(tmp_path / "store", option=option)
    write(store)
    path = place(store) / "artefact.json"
    record = json.loads(path.read_text())
    record["schema"] += 1
    del record["sha256"]
    path.write_text(json.dumps({"sha256": _body_hash(record), **record}))
    with pytest.raises(StoreError, match=rf"newer version of perturblearn; update it, .* with {option}$"):
        store.read(KEY)


@pytest.mark.parametrize(
    ("content", "error"),
    [({"x": math.nan}, ValueError), ({"x": [1, -math.inf]}, ValueError), ({"x": torch.zeros(1)}, TypeError)],
)
def test_what_is_no_json_is_refused_and_leaves_nothing(
    store: ArtefactStore, content: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="JSON"):
        store.write(KEY, Artefact(content, {"x": torch.zeros(3)}), origin={})
    assert nothing_left_behind(store)


def between_two_looks(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once, after a reader has read the record and before it reads the tensors."""
    pending = [happens]

    def checksum(body: dict[str, Any]) -> str:
        if pending:
            pending.pop()()
        return _body_hash(body)

    monkeypatch.setattr("perturblearn.store.artefacts._body_hash", checksum)


def test_an_artefact_that_goes_between_two_looks_is_not_there(
    store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    between_two_looks(monkeypatch, lambda: ArtefactStore(store.folder).remove(KEY))
    with pytest.raises(KeyError, match=KEY):
        store.read(KEY)


def test_an_artefact_that_is_replaced_between_two_looks_is_the_new_one(
    store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    new = Artefact({"number": 2}, {"x": torch.zeros(3)})
    between_two_looks(
        monkeypatch, lambda: ArtefactStore(store.folder).write(KEY, new, origin={"kind": "test"}, replace=True)
    )
    found = store.read(KEY)
    assert found.content == new.content
    assert torch.equal(found.tensors["x"], new.tensors["x"])


def test_tensors_that_go_between_two_looks_without_their_record_are_damage(
    store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    between_two_looks(monkeypatch, (place(store) / "tensors.safetensors").unlink)
    with pytest.raises(DamagedArtefact):
        store.read(KEY)


def test_an_artefact_that_goes_while_an_equal_one_is_written_is_no_error(
    store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    other, rename = ArtefactStore(store.folder), os.rename

    def rename_and_lose(source: Path, target: Path) -> None:
        try:
            rename(source, target)
        except OSError:
            monkeypatch.setattr("os.rename", rename)
            other.remove(KEY)
            raise

    monkeypatch.setattr("os.rename", rename_and_lose)
    write(store)
    assert nothing_left_behind(store)


@pytest.mark.parametrize("name", ["tensors.safetensors", "artefact.json"])
def test_what_another_user_keeps_to_himself_is_not_there(
    store: ArtefactStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    opened = io.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr("io.open", refuse)
    with pytest.raises(KeyError, match=KEY):
        store.read(KEY)


def test_both_files_have_the_same_readers(store: ArtefactStore) -> None:
    write(store)
    modes = {path.stat().st_mode for path in place(store).iterdir()}
    assert len(modes) == 1


def test_an_artefact_says_what_it_was_made_from_and_by_what(store: ArtefactStore) -> None:
    write(store)
    record = json.loads((place(store) / "artefact.json").read_text())
    assert record["origin"] == {"kind": "test"}
    assert record["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert record["checksums"] == {"tensors.safetensors": file_hash(place(store) / "tensors.safetensors")}


def leftover(store: ArtefactStore, machine: str, process: int | str) -> Path:
    path = store.folder / "tmp" / f"{machine}.{process}.0123abcd"
    path.mkdir(parents=True)
    (path / "half").touch()
    return path


def test_leftovers_of_the_dead_are_removed_and_of_nobody_else(store: ArtefactStore) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    here = socket.gethostname()
    dead = leftover(store, here, ended.pid)
    others = [
        leftover(store, here, os.getpid()),
        leftover(store, here, 1),
        leftover(store, f"not-{here}", ended.pid),
        leftover(store, f"{here}.subdomain", ended.pid),
        leftover(store, here, "word"),
    ]
    ArtefactStore(store.folder)
    assert not dead.exists()
    assert [path for path in others if not path.exists()] == []


@pytest.mark.parametrize("below", ["", "folder"])
@pytest.mark.parametrize("option", ["--out", "--cache-dir"])
def test_a_file_in_the_place_of_the_folder(tmp_path: Path, below: str, option: str) -> None:
    (tmp_path / "file").write_text("mine")
    store = ArtefactStore(tmp_path / "file" / below, option=option)
    assert not store.has(KEY)
    with pytest.raises(StoreError, match=rf"cannot write to .*file.* choose another folder with {option}$"):
        write(store)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("option", ["--out", "--cache-dir"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    store = ArtefactStore(tmp_path / "store", option=option)

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_space)
    with pytest.raises(StoreError, match=rf"No space left on device.*free some space.* with {option}$"):
        write(store)
    assert nothing_left_behind(store)


def test_two_processes_may_write_the_same_key(tmp_path: Path) -> None:
    printed_by("tests.store.busy_writer", tmp_path)
    found = ArtefactStore(tmp_path).read(KEY)
    assert torch.equal(found.tensors["x"], torch.full((10_000,), found.content["number"]))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_disk_that_is_full_of_tensors_leaves_nothing(tmp_path: Path) -> None:
    """The library that writes them has an error of its own for it."""
    pytest.importorskip("resource", reason="files have no largest size there")
    code = (
        "import resource, signal, sys, torch; from perturblearn.store import Artefact, ArtefactStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "ArtefactStore(sys.argv[1]).write('ab' * 32, Artefact({}, {'x': torch.zeros(10_000)}), origin={})"
    )
    store = ArtefactStore(tmp_path / "store")
    command = [sys.executable, "-c", code, str(store.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"StoreError: cannot write to .*store \(File too large\); free some space", done.stderr)
    assert nothing_left_behind(store)


def test_a_placed_file_is_that_of_the_store(store: ArtefactStore, tmp_path: Path) -> None:
    write(store)
    own, path = place(store) / "tensors.safetensors", tmp_path / "placed"
    store.place(KEY, path)
    assert path.samefile(own)
    assert torch.equal(load_file(path)["x"], torch.arange(100))


def refuse(*_: object, **__: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_a_placed_file_is_a_copy_where_the_disk_knows_no_links(
    store: ArtefactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    own, path = place(store) / "tensors.safetensors", tmp_path / "placed"
    monkeypatch.setattr("os.link", refuse)
    store.place(KEY, path)
    assert not path.samefile(own)
    assert path.read_bytes() == own.read_bytes()


@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
@pytest.mark.parametrize("name", ["tensors.safetensors", "artefact.json"])
def test_a_damaged_artefact_is_not_placed(
    store: ArtefactStore, tmp_path: Path, name: str, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr("os.link", refuse)
    write(store)
    own, path = place(store) / name, tmp_path / "placed"
    intact = own.read_bytes()
    for position in range(0, len(intact), 61):
        own.write_bytes(intact[:position] + bytes([intact[position] ^ 1 << position % 8]) + intact[position + 1 :])
        with pytest.raises(DamagedArtefact, match="is damaged"):
            store.place(KEY, path)
        assert not path.exists()
    own.write_bytes(intact)
    store.place(KEY, path)
    assert path.read_bytes() == (place(store) / "tensors.safetensors").read_bytes()


def test_what_is_not_there_cannot_be_placed(store: ArtefactStore, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=KEY):
        store.place(KEY, tmp_path / "placed")
    write(store)
    (place(store) / "tensors.safetensors").unlink()
    with pytest.raises(KeyError, match=KEY):
        store.place(KEY, tmp_path / "placed")
    assert not (tmp_path / "placed").exists()


def test_what_is_placed_counts_as_used(store: ArtefactStore, tmp_path: Path) -> None:
    write(store)
    os.utime(place(store), (0, 0))
    store.place(KEY, tmp_path / "placed")
    assert place(store).stat().st_mtime > 0


def test_removing_an_artefact_leaves_what_was_placed(store: ArtefactStore, tmp_path: Path) -> None:
    write(store, 1)
    store.place(KEY, tmp_path / "placed")
    content = (tmp_path / "placed").read_bytes()
    store.write(KEY, Artefact({}, {"x": torch.zeros(3)}), origin={}, replace=True)
    store.remove(KEY)
    assert (tmp_path / "placed").read_bytes() == content


def test_tensors_alone_are_written_as_the_store_writes_them(store: ArtefactStore, tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"b": whole, "a": whole.T, "part": whole[1:], "marks": whole > 3}
    store.write(KEY, Artefact({"number": 1}, tensors), origin={})
    own, path = place(store) / "tensors.safetensors", tmp_path / "written"
    write_tensors(tensors, path)
    assert path.read_bytes() == own.read_bytes() == save(separate(tensors))
    assert path.stat().st_mode == own.stat().st_mode
    with pytest.raises(FileNotFoundError):
        write_tensors(tensors, tmp_path / "no" / "folder")


KEY_OF_OLD = "cd" * 32


def test_results_of_an_earlier_version_are_reported_and_stay(tmp_path: Path) -> None:
    ArtefactStore(tmp_path).write(KEY_OF_OLD, Artefact({"value": 1}), origin={})
    (tmp_path / "artefacts/format").unlink()  # the first version left no such file
    with pytest.warns(UserWarning, match="results of an earlier version of perturblearn, which this version cannot"):
        store = ArtefactStore(tmp_path)
    with pytest.warns(UserWarning, match="earlier version"):
        ArtefactStore(tmp_path)  # until something is written
    store.write("ab" * 32, Artefact({"value": 2}), origin={})
    again = ArtefactStore(tmp_path)
    assert [again.read(key).content["value"] for key in (KEY_OF_OLD, "ab" * 32)] == [1, 2]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    ArtefactStore(tmp_path).write(KEY_OF_OLD, Artefact({"value": 1}), origin={})
    (tmp_path / "artefacts/format").write_text("3\n")
    with pytest.raises(StoreError, match="was written by a newer version of perturblearn; update it"):
        ArtefactStore(tmp_path)


def test_an_unused_folder_is_of_no_version(tmp_path: Path) -> None:
    ArtefactStore(tmp_path / "new")
    assert not (tmp_path / "new").exists()
