"""The commands audit and transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import refuse_network_keys, split_arguments, split_epsilons, split_networks
from perturblearn.cli.options import (
    DataOptions,
    FigureOptions,
    Flag,
    Flattened,
    Out,
    ProgressOptions,
    Track,
    arguments,
)


@app.command
def audit(
    *words: Annotated[
        str,
        arguments(
            "[FILE] [--KEY VALUE ...]",
            "A TOML file and keys for everything else, such as --seeds 5 or --attack.steps 50. --LEARNER.KEY VALUE "
            "sets a key of one learner, such as --convnet.epochs 30.",
        ),
    ],
    model: Annotated[
        str, Parameter(help="The model f: yours as package.module:name (the current folder works too), or one of ours.")
    ],
    checkpoint: Annotated[
        Path | None,
        Parameter(help="File of f's weights (safetensors or a state dict), if the model comes without weights."),
    ] = None,
    train: Annotated[bool, Flag, Parameter(help="Train f first; by default its weights are not changed.")] = False,
    epsilons: Annotated[
        str | None,
        Parameter(
            help="Sizes by norm, such as l2:0.5,l2:1,linf:0.1; in l0, numbers of pixels (default: one size in l2 and "
            "one in linf)."
        ),
    ] = None,
    learner: Annotated[
        str | None,
        Parameter(
            help="Networks that learn, such as convnet,mypackage.nets:make (default: convnet for images, mlp for other "
            "data)."
        ),
    ] = None,
    why: Annotated[
        bool,
        Flag,
        Parameter(
            help="Ask why g learned: f's errors and answers to other data, robust linear features, what is left "
            "without a linear shortcut, what fools f alone, the perturbations' part of g, each beside its own control."
        ),
    ] = False,
    foreign: Annotated[
        str | None,
        Parameter(help="With --why: other data sets of the same shape, such as fashion_mnist, that f labels for g."),
    ] = None,
    data: Annotated[DataOptions, Flattened] = DataOptions(),
    out: Out = Path("runs"),
    track: Track = None,
    execution: Annotated[FigureOptions, Flattened] = FigureOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> None:
    """Audit a model: what do its perturbations teach a network that sees nothing else?

    Every learner is trained on the model's perturbations, for every norm and
    epsilon, and compared with two controls and a linear classifier. The result
    is a verdict, a table, a figure and a folder.
    """
    file, keys = split_arguments(words)
    data.set_keys(keys)
    learners = None if learner is None else split_networks(learner, keys)
    refuse_network_keys(keys, "--learner")

    from perturblearn.api import prepare_audit
    from perturblearn.cli.execute import execute_one

    prepared = prepare_audit(
        model,
        epsilons=None if epsilons is None else split_epsilons(epsilons),
        learners=learners,
        checkpoint=checkpoint,
        train=train,
        why=why,
        foreign=() if foreign is None else foreign.split(","),
        config=file,
        overrides=keys,
        data_dir=data.data_dir,
    )
    execute_one(prepared, out, execution, output, track=track)


@app.command
def transfer(
    *words: Annotated[
        str,
        arguments(
            "[FILE] [--KEY VALUE ...]",
            "A TOML file and keys for everything else, such as --seeds 2 or --attack.epsilon 2. --NETWORK.KEY VALUE "
            "sets a key of one network in both roles, such as --resnet18.model.width 0.25.",
        ),
    ],
    networks: Annotated[str, Parameter(help="Architectures, such as mlp,convnet,resnet18 or package.module:factory.")],
    data: Annotated[DataOptions, Flattened] = DataOptions(),
    out: Out = Path("runs"),
    track: Track = None,
    execution: Annotated[FigureOptions, Flattened] = FigureOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> None:
    """Train every architecture on every architecture's perturbations, and test how often these fool it.

    The result is three tables and what they say, a heat map and a folder.
    """
    file, keys = split_arguments(words)
    data.set_keys(keys)
    architectures = split_networks(networks, keys)
    refuse_network_keys(keys, "--networks")

    from perturblearn.api import prepare_transfer
    from perturblearn.cli.execute import execute_one

    prepared = prepare_transfer(architectures, config=file, overrides=keys, data_dir=data.data_dir)
    execute_one(prepared, out, execution, output, track=track)
