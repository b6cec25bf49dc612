"""The commands audit and transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import refuse_network_keys, split_arguments, split_epsilons, split_networks
from perturblearn.cli.options import Cache, Data, DataDir, Doing, Flag, Out, SkipBad, Telling, Together, put_data


@app.command
def audit(
    *arguments: Annotated[
        str,
        Parameter(
            name="[FILE] [--KEY VALUE ...]",
            help="A TOML file and keys with whatever else is to be set, such as --seeds 5 or --attack.steps 50; "
            "--LEARNER.KEY VALUE sets a key of one learner, such as --convnet.epochs 30.",
            allow_leading_hyphen=True,
        ),
    ],
    model: Annotated[
        str,
        Parameter(help="f: your own as package.module:name, from the current folder too, or one of ours."),
    ],
    data: Data = None,
    checkpoint: Annotated[
        Path | None, Parameter(help="File of f's weights (safetensors or a state dict), if the model comes without.")
    ] = None,
    train: Annotated[bool, Flag, Parameter(help="Train f first; without it f is taken as it stands.")] = False,
    epsilons: Annotated[
        str | None,
        Parameter(help="Sizes by norm, such as l2:0.5,l2:1,linf:0.1 (l0: pixels); otherwise one of l2 and of linf."),
    ] = None,
    learner: Annotated[
        str | None,
        Parameter(
            help="Networks that learn, such as convnet,mypackage.nets:make; otherwise convnet for images, mlp for all "
            "else."
        ),
    ] = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    cache: Annotated[Cache, Together] = Cache(),
    doing: Annotated[Doing, Together] = Doing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """What do a model's perturbations teach a network that sees nothing else, and how much of it is class features?

    Over norms, epsilons and learners, beside both controls and a linear classifier. The answer is a verdict in two
    sentences, a table, a figure and a folder.
    """
    file, keys = split_arguments(arguments)
    put_data(keys, data, skip_bad)
    learners = None if learner is None else split_networks(learner, keys)
    refuse_network_keys(keys, "--learner")

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out_result

    prepared = api.prepare_audit(
        model,
        epsilons=None if epsilons is None else split_epsilons(epsilons),
        learners=learners,
        checkpoint=checkpoint,
        train=train,
        config=file,
        overrides=keys,
        data_dir=data_dir,
    )
    carry_out_result(prepared, out, cache, doing, telling)


@app.command
def transfer(
    *arguments: Annotated[
        str,
        Parameter(
            name="[FILE] [--KEY VALUE ...]",
            help="A TOML file and keys with whatever else is to be set, such as --seeds 2 or --attack.epsilon 2; "
            "--NETWORK.KEY VALUE sets a key of one network in both roles, such as --resnet18.model.width 0.25.",
            allow_leading_hyphen=True,
        ),
    ],
    networks: Annotated[str, Parameter(help="Architectures, such as mlp,convnet,resnet18 or package.module:factory.")],
    data: Data = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    cache: Annotated[Cache, Together] = Cache(),
    doing: Annotated[Doing, Together] = Doing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Perturbations of each architecture, learned by each: a matrix, with how often they fool another network.

    The result is three tables with their reading, a heat map and a folder.
    """
    file, keys = split_arguments(arguments)
    put_data(keys, data, skip_bad)
    architectures = split_networks(networks, keys)
    refuse_network_keys(keys, "--networks")

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out_result

    prepared = api.prepare_transfer(architectures, config=file, overrides=keys, data_dir=data_dir)
    carry_out_result(prepared, out, cache, doing, telling)
