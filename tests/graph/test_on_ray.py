"""Plans on a real Ray cluster: the same numbers as in one process, errors, and what people are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of, same_artefact
from tests.graph.kinds import Number, StoredNumber

from perturblearn.api.executors import executor
from perturblearn.cli import main
from perturblearn.errors import ConfigError
from perturblearn.experiment import Experiment, run_together
from perturblearn.graph import Executor, Results, Stored, aside, cluster, make_plan
from perturblearn.store import Artefact, ArtefactStore

pytest.importorskip("ray", reason="Ray is not installed")

from tests.graph.clusters import Machines

ROOT = Path(__file__).parents[2]


@pytest.fixture
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def experiments() -> list[Experiment]:
    """Two-layer networks in groups, deep ones that resume, and one whose training diverges."""
    data = blobs(2)
    sizes = [experiment_of({**TWO_LAYER, "seeds": 1, "attack.epsilon": size}, data) for size in (0.3, 0.5)]
    widths = [
        experiment_of({**TWO_LAYER, "seeds": 1, "perturbation.model.hidden_dim": width}, data) for width in (4, 6)
    ]
    deep = [experiment_of({**DEEP, "attack.epsilon": size}, data) for size in (0.4, 0.6)]
    diverging = experiment_of({**DEEP, "perturbation.lr": 1e30, "controls.draws": 0}, data)
    return [*sizes, *widths, *deep, diverging]


def test_the_numbers_are_those_of_one_process(ray_machines: Machines, one_thread: None, tmp_path: Path) -> None:
    measured: dict[str, dict[str, Any]] = {}
    errors: dict[str, set[str]] = {}
    made = {"here": Executor, "ray": executor("ray", address=ray_machines.address)}
    for name, make in made.items():
        found: dict[str, Any] = {}

        def finished(experiment: Experiment, ran: Executor, error: Exception | None, found: Any = found) -> None:
            found[experiment.key] = str(error) if error else experiment.measures(ran)

        ran = run_together(experiments(), ArtefactStore(tmp_path / name), make_executor=make, finished=finished)
        measured[name] = found
        errors[name] = {key for key in ran.errors if ran.plan.status[key] == "run"}
    assert measured["ray"] == measured["here"]
    assert errors["ray"] == errors["here"]
    (failed,) = [text for text in measured["here"].values() if isinstance(text, str)]
    assert "perturbation classifier" in failed
    stores = [ArtefactStore(tmp_path / name) for name in made]
    keys = [sorted(path.name for path in (store.folder / "artefacts").glob("*/*")) for store in stores]
    assert keys[0] == keys[1]
    for key in keys[0]:
        same_artefact(*(store.read(key) for store in stores))
        files = [store.folder / "artefacts" / key[:2] / key / "tensors.safetensors" for store in stores]
        assert files[0].exists() == files[1].exists()
        if files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes()


@dataclass(frozen=True, eq=False, kw_only=True)
class Mortal(StoredNumber):
    kind = "mortal"
    value: int
    dies: bool = False
    on: str = aside(default="cpu")

    @property
    def label(self) -> str:
        return f"number {self.value}"

    @property
    def device(self) -> str:
        return self.on

    def run(self, result: Results) -> Number:
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return Number(self.value)


def test_a_stage_that_kills_its_process_fails_and_the_others_go_on(
    ray_machines: Machines, capfd: pytest.CaptureFixture[str]
) -> None:
    stages = [Mortal(value=value, dies=value == 3) for value in range(12)]
    ran = executor("ray", address=ray_machines.address)(make_plan(stages))
    ran.run(keep_going=True)
    assert [key == stages[3].key for key in ran.errors] == [True]
    assert str(ran.errors[stages[3].key]).startswith("number 3: one process after the other died of it (WorkerCrashed")
    assert [ran.result(found).value for found in stages if found is not stages[3]] == [0, 1, 2, *range(4, 12)]
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", ""), "nothing is said but by us"


@dataclass(frozen=True, eq=False, kw_only=True)
class Seeing(Stored[str]):
    kind = "seeing"
    value: int

    def run(self, result: Results) -> str:
        return f"GPU {os.environ.get('CUDA_VISIBLE_DEVICES')}, threads {torch.get_num_threads()}"

    @classmethod
    def dump(cls, result: str) -> Artefact:
        return Artefact({"seen": result})

    @classmethod
    def load(cls, artefact: Artefact) -> str:
        return artefact.content["seen"]


def test_a_task_sees_its_gpu_and_has_as_many_threads_as_cpus(ray_machines: Machines) -> None:
    stages = [Seeing(value=value) for value in range(3)]
    ran = executor("ray", address=ray_machines.address, gpus=0.25)(make_plan(stages))
    ran.run()
    assert [ran.result(found) for found in stages] == ["GPU 0, threads 1"] * 3


def test_a_stage_is_sent_in_a_few_kilobytes() -> None:
    import cloudpickle

    from perturblearn.graph.dispatch import Dispatcher
    from perturblearn.graph.on_ray import RayExecutor
    from perturblearn.graph.remote import Place
    from perturblearn.graph.tasks import cut

    made = [Experiment(experiments_config(number)) for number in range(20)]
    ran = RayExecutor(make_plan([found for each in made for found in each.targets]))
    pieces = cut(ran.plan)
    sizes: list[int] = []

    class Scales:
        def slots(self) -> int:
            return 10**6

        def put(self, value: object) -> object:
            raise AssertionError("there is nothing to give yet")

        def call(self, *arguments: object) -> object:
            sizes.append(len(cloudpickle.dumps(arguments)))
            return len(sizes)

        def wait(self, calls: object) -> list[Any]:
            raise InterruptedError

    dispatcher = Dispatcher(ran, pieces, Scales(), Place("", "", {}, 1, None))  # type: ignore[arg-type]
    with pytest.raises(InterruptedError):
        dispatcher.run()
    assert sizes
    assert max(sizes) < 16_000  # the first of a task brings the kinds along, which its others share


def experiments_config(number: int) -> Any:
    from perturblearn.config import resolve_config

    return resolve_config({}, {"attack.epsilon": 0.1 + 0.01 * number, "seeds": [number], "data.name": "digits"})


def run_program(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perturblearn", *words], capture_output=True, text=True, check=False, **more
    )


SWEEP = """
[data]
name = "digits"
classes = [3, 8]
n_samples = 60
[controls]
draws = 0
[standard]
epochs = 20
[perturbation]
epochs = 20
[sweep.grid]
"attack.epsilon" = [0.2, 0.4, 0.6]
seeds = [0, 1]
"""


def test_the_command_starts_ray_by_itself_and_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    mark = f"MARK_{uuid.uuid4().hex}"
    sweep = ["sweep", "--json", "--out"]
    on_ray = [*sweep, "ray", "--executor", "ray", "--cpus", "1", "sweep.toml"]
    ran = run_program(*on_ray, cwd=tmp_path, env={**os.environ, mark: "1"})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [words for words in running_with(mark) if words] == []
    capsys.readouterr()
    assert main([*sweep, str(tmp_path / "here"), str(tmp_path / "sweep.toml")]) == 0
    assert json.loads(ran.stdout)["points"] == json.loads(capsys.readouterr().out)["points"]


def running_with(mark: str) -> list[str]:
    """The command lines of the processes that were started with this word in their environment."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def test_an_interruption_ends_the_tasks_and_is_told_in_one_line(ray_machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("epochs = 20", "epochs = 200000"))
    words = ["sweep", "sweep.toml", "--executor", "ray", "--ray-address", ray_machines.address]
    with subprocess.Popen(
        [sys.executable, "-m", "perturblearn", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not ray_machines.has_tasks():
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.strip() == "perturblearn: interrupted; finished stages are kept, and the same command resumes"
    while ray_machines.has_tasks():  # until the test's timeout
        time.sleep(0.1)


def test_networks_and_data_are_found_by_relative_names(ray_machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "own_nets.py").write_text(
        "import torch\ndef small():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))\n"
    )
    data = blobs(2)
    import numpy as np

    np.savez(tmp_path / "blobs.npz", inputs=data.inputs.numpy(), labels=data.labels.numpy())
    (tmp_path / "sweep.toml").write_text(
        '[data]\nname = "npz:blobs.npz"\n[standard.model]\nname = "own_nets:small"\n[standard]\nepochs = 2\nlr = 0.1\n'
        '[perturbation.model]\nname = "own_nets:small"\n[perturbation]\nepochs = 2\nlr = 0.1\n[attack]\nname = "pgd"\n'
        'steps = 2\n[controls]\ndraws = 0\n[sweep.grid]\n"attack.epsilon" = [0.2, 0.4]\n'
    )
    ran = run_program(
        "sweep", "sweep.toml", "--quiet", "--executor", "ray", "--ray-address", ray_machines.address, cwd=tmp_path
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray that can be used answers at 127.0.0.1:1 ("),
        ("nowhere", "no Ray that can be used answers at nowhere (it is not host:port)"),
        ("ray://127.0.0.1:10001", "run on a machine of the cluster, with host:port"),
    ],
)
def test_an_address_where_nothing_answers(address: str, told: str) -> None:
    ran = executor("ray", address=address)(make_plan([Mortal(value=1)]))
    with pytest.raises(ConfigError, match="start it with 'ray start --head'") as error:
        ran.run()
    assert told in str(error.value)


def test_the_address_that_the_environment_names_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    ran = executor("ray", address="auto")(make_plan([Mortal(value=1)]))
    started = time.monotonic()
    with pytest.raises(ConfigError, match="no Ray that can be used answers at auto"):
        ran.run()
    assert time.monotonic() < started + 60, "Ray itself asks for minutes"


@pytest.mark.parametrize("wanted", [{"cpus": 2}, {"gpus": 2.0}])
def test_a_task_that_fits_no_machine(
    wanted: dict[str, Any], ray_machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perturblearn.graph.on_ray.PATIENCE", 0.0)
    ran = executor("ray", address=ray_machines.address, **wanted)(make_plan([Mortal(value=1)]))
    with pytest.raises(ConfigError, match="the largest have 1 CPUs and 1 GPUs; choose fewer, or add machines"):
        ran.run()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "slurm"}, "executor = 'slurm', but it must be one of in_process, ray"),
        ({"cpus": 2}, "cpus = 2 applies to Ray only; choose the executor ray"),
        ({"gpus": 0.5}, "gpus = 0.5 applies to Ray only"),
        ({"address": "auto"}, "address = auto applies to Ray only"),
        ({"threads": 0}, "threads = 0, but a stage needs at least 1"),
        ({"name": "ray", "threads": 2}, "give their number as cpus"),
        ({"name": "ray", "cpus": 0}, "cpus = 0, but a task needs at least 1"),
        ({"name": "ray", "gpus": -1.0}, "gpus = -1, but it must be a share of one GPU"),
        ({"name": "ray", "gpus": 1.5}, "gpus = 1.5, but it must be a share of one GPU"),
    ],
)
def test_what_does_not_go_together(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        executor(**arguments)
    assert told in str(error.value)


def test_without_ray_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'perturblearn\[ray\]'"):
        executor("ray")


def test_a_gpu_has_to_be_asked_for() -> None:
    plan = make_plan([Mortal(value=1, on="cuda")])
    with pytest.raises(ConfigError, match="device = 'cuda', but Ray tasks have no GPU"):
        executor("ray")(plan)
    executor("ray", gpus=0.25)(plan)


def test_threads_of_this_process_are_set(one_thread: None) -> None:
    executor(threads=3)(make_plan([]))
    assert torch.get_num_threads() == 3


def test_nothing_to_do_needs_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "connected", None)
    executor("ray", address="127.0.0.1:1")(make_plan([])).run()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cpus", "2"], "cpus = 2 applies to Ray only; choose the executor ray too, or leave cpus out"),
        (["--executor", "ray", "--gpus", "1.5"], "gpus = 1.5, but it must be a share of one GPU, such as 0.25"),
        (["--executor", "ray", "--ray-address", "127.0.0.1:1"], "no Ray that can be used answers at 127.0.0.1:1"),
        (["--executor", "slurm"], "slurm"),
    ],
)
def test_the_command_says_in_one_sentence_what_cannot_be(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "runs"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
