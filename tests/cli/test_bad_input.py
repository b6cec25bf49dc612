from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import TINY, nothing_looks_finished, records, refuse, run_folders, say, words
from tests.data.writers import class_images, write_files, write_idx_dataset

from perturblearn.errors import StoreError
from perturblearn.store import ArtefactStore


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERTURBLEARN_DATA", raising=False)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_all(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", refuse_all)


# What is wrong with the words themselves: nothing is even begun.
WORDS = [
    ("experiment", 'Unknown command "experiment"'),
    ("--unknown", "--unknown"),
    ("run --out", "--out requires an argument"),
    ("run --plan=maybe", 'Invalid value for --plan: unable to convert "maybe" into bool'),
    ("run one.toml two.toml", "two files are named, one.toml and two.toml; name one"),
    ("run -x 3", "two files are named, -x and 3; name one file, and write keys as --KEY VALUE"),
    ("run --seeds", "--seeds has no value; write --seeds VALUE"),
    ("run --seeds --json", "--seeds has no value; write --seeds VALUE"),
    ("run --seeds 1 --seeds=2", "--seeds is given twice; give it once"),
    ("run --no.such.key 1", "there is no key no; "),
    ("run --epsilon 1", r"there is no key epsilon; did you mean attack\.epsilon\?"),
    ("run --attack.epsilon abc", "attack.epsilon = 'abc', but it must be a number"),
    ("run --attack.epsilon=-1", "attack.epsilon = -1, but it must be at least 0"),
    ("run --attack.epsilon -1", "attack.epsilon = -1, but it must be at least 0"),
    ("run --attack.epsilon nan", "attack.epsilon = nan, but it must be a finite number"),
    ("run --attack.epsilon=", "attack.epsilon = '', but it must be a number"),
    ("run --standard.lr []", r"standard.lr = \[\], but it must be a list with at least 1 entry"),
    ("run --seeds 0", "at least one seed is needed"),
    ("run --data.classes 5", "is one class only; name at least two"),
    ("run --name a/b", "name = 'a/b': it names a folder"),
    ("run --device tpu", "device = 'tpu': there is no such device"),
    ("run --device cuda:99", "device = 'cuda:99', but torch finds"),
    ("run absent.toml", "there is no file absent.toml; name a TOML file, or write one with 'perturblearn init"),
    ("run .", r"cannot read \. \(Is a directory\)"),
    ("init --seeds 0", "at least one seed is needed"),
    ("init folder/absent/file.toml", "cannot write to folder/absent/file.toml .No such file or directory."),
    ("init a.toml b.toml", "two files are named"),
    ("init --nothing 1", "there is no key nothing"),
]


@pytest.mark.parametrize(("command", "sentence"), WORDS, ids=[command for command, _ in WORDS])
def test_words_that_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, sentence: str
) -> None:
    assert re.search(sentence, refuse(capsys, *words(command)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("plan", [False, True], ids=["run", "plan"])
def test_a_file_with_an_error_in_its_toml(capsys: pytest.CaptureFixture[str], plan: bool) -> None:
    Path("bad.toml").write_text("seeds = 1\nlr = [")
    assert "bad.toml is not valid TOML (" in refuse(capsys, "run", "bad.toml", *["--plan"] * plan)
    assert not Path("runs").exists()


# What shows only when the data are looked at, or the stages run.
SMALL = "--seeds 1 --standard.epochs 5 --perturbation.epochs 5 --controls.draws 1"
RUNS = [
    ("--data.classes 3,12", "there is no class '12' in these data; choose among 0, 1,"),
    ("--data.classes 1,2,3", r"the data have 3 classes \(1, 2, 3\), but two-layer .* --data.classes 1,2"),
    ("--data.name digits --name ten --data.classes 0,1,2,3,4,5,6,7,8,9", "the data have 10 classes"),
    ("--data.name shifted_gauss --data.n_samples 7", "n_samples = 7 is odd, .*; choose an even number"),
    ("--attack.norm l0 --attack.pixels 65", "attack.pixels = 65, but inputs have 64 coordinates; choose"),
    ("--attack.targets given", "attack.targets is 'given', but the data contain no targets"),
    ("--data.name gauss --attack.source uniform", "'uniform' draws over the data's value range, but .* choose gauss"),
    ("--data.name python", "stands for data passed as Python objects"),
    ("--data.name folder:absent", "absent, which data.name = folder:absent names, does not exist; check the path"),
    ("--data.name npz:absent.npz", "absent.npz, which data.name"),
    ("--data.name folder:empty", "there are no images in empty; put them into one subfolder per class"),
    ("--data.name folder:single", r"single has only one class \(ant\)"),
    ("--data.name folder:broken", r"(ant|bee)/\d\.png in broken"),
    ("--data.name mnist --data-dir data", r"train-images-idx3-ubyte.gz does not exist and could not be downloaded"),
    ("--data.name mnist --data-dir cut", r"cut/MNIST/raw/train-images-idx3-ubyte.gz .*(damaged|end)"),
    ("--data.name mnist --data-dir flipped", r"flipped/MNIST/raw/train-images-idx3-ubyte.gz"),
]


@pytest.fixture
def bad_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "data").mkdir()
    images = class_images(split=False)
    write_files(
        tmp_path / "single", {name: image for name, image in images.items() if name.startswith("ant/")}, "folder"
    )
    write_files(tmp_path / "broken", images, "folder")
    (tmp_path / "broken" / "bee" / "1.png").write_bytes(images["bee/1.png"][:40])
    for name in ("cut", "flipped"):
        write_idx_dataset(tmp_path / name, "MNIST/raw", compress=True)
        path = tmp_path / name / "MNIST/raw/train-images-idx3-ubyte.gz"
        content = bytearray(path.read_bytes())
        assert gzip.decompress(content)
        content[len(content) // 2] ^= 1
        path.write_bytes(content if name == "flipped" else content[: len(content) // 2])


@pytest.mark.usefixtures("bad_data")
@pytest.mark.parametrize(("command", "sentence"), RUNS, ids=[command for command, _ in RUNS])
def test_data_and_sizes_that_do_not_fit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, sentence: str
) -> None:
    said = refuse(capsys, "run", *words(SMALL), *words(command))
    assert re.search(sentence, said), said
    assert nothing_looks_finished(tmp_path / "runs", said)


def test_divergence_names_stage_epoch_and_learning_rate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for role in ("standard", "perturbation"):
        said = refuse(capsys, "run", *TINY, f"--{role}.loss", "exponential", f"--{role}.lr", "1e6")
        assert re.fullmatch(
            rf"{role} classifier, lr 1e\+06, seed 0: training diverged at epoch \d of 5 with learning rate 1e\+06 .*"
            r"choose a smaller learning rate",
            said,
        )
        assert run_folders(tmp_path / "runs") == []
        failed = records(tmp_path / "runs")[-1]
        assert (failed.state, failed.error) == ("failed", said)


@pytest.mark.parametrize("out", ["file", "file/below", "file/far/below"])
def test_an_output_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path, out: str) -> None:
    Path("file").write_text("mine")
    said = refuse(capsys, "run", *TINY, "--out", out)
    assert str(Path(out)) in said
    assert "with --out" in said
    assert Path("file").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_full_disk_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.rename", no_space)
    with warnings.catch_warnings():
        warnings.filterwarnings("default", message="cannot write")
        said = say(capsys, "run", *TINY)
    # The stages go on in memory, and are told once; the run's folder has no other place.
    warning, error = said.err.splitlines()
    assert warning.startswith("perturblearn: warning: cannot write to runs/.store (No space left on device); ")
    assert warning.endswith("; the run goes on and keeps its stages in memory")
    assert error.startswith("perturblearn: cannot write to runs/.store (No space left on device); free some space")
    assert (said.code, said.out) == (2, "")
    assert nothing_looks_finished(tmp_path / "runs", error.removeprefix("perturblearn: "))


def test_a_cache_on_a_full_disk_is_one_warning(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = say(capsys, "run", *TINY, "--json", "--out", "expected").json
    write = ArtefactStore.write

    def no_space(store: ArtefactStore, *arguments: Any, **keys: Any) -> None:
        if store.folder == tmp_path / "cache":
            raise StoreError("cannot write to the cache (No space left on device)")
        write(store, *arguments, **keys)

    monkeypatch.setattr(ArtefactStore, "write", no_space)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = say(capsys, "run", *TINY, "--json", "--cache-dir", tmp_path / "cache")
    assert said.code == 0
    assert said.err.count("\n") == 1
    assert "warning: cannot write to the cache" in said.err
    assert {**said.json, "seconds": 0, "folder": ""} == {**expected, "seconds": 0, "folder": ""}


def test_damaged_run_records_are_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    database = tmp_path / "runs" / ".store" / "records.sqlite3"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 1000)
    said = refuse(capsys, "run", *TINY)
    assert "cannot use the run records in runs/.store/records.sqlite3" in said
    assert run_folders(tmp_path / "runs") == []


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_a_damaged_result_is_one_sentence_and_force_mends_it(capsys: pytest.CaptureFixture[str], content: str) -> None:
    folder = Path(say(capsys, "run", *TINY, "--json").json["folder"])
    intact = (folder / "config.toml").read_text()
    (folder / "result.json").write_text(content)
    said = refuse(capsys, "run", *TINY)
    assert f"{folder}/result.json" in said
    assert ("newer version" in said) == ("99" in content)
    assert say(capsys, "run", *TINY, "--force", "--quiet").code == 0
    assert say(capsys, "run", *TINY, "--json").json["key"].startswith(folder.name.rpartition("-")[2])
    assert (folder / "config.toml").read_text() == intact
