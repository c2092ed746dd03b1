"""Evaluate finished sets, made here or by others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dcbench.datasets.catalogue import DATASETS, find, installed, option_for
from dcbench.datasets.loading import Loaded
from dcbench.distiller import registered
from dcbench.evaluation.evaluate import check_fit
from dcbench.evaluation.protocol import OWN, PROTOCOL_NAMES, PROTOCOLS, Protocol, find_protocol
from dcbench.experiments.context import StoredSet, Workspace
from dcbench.experiments.evaluate import SetEvaluation, check
from dcbench.experiments.presets import own_protocol
from dcbench.experiments.run_grid import Judging
from dcbench.system.errors import MismatchError, require_known
from dcbench.system.fields import within
from dcbench.system.layout import revision_folder


@dataclass(frozen=True)
class StoredJudging:
    """How stored sets are evaluated."""

    protocol: str  # its name; ``own``: the protocol of the paper of the set's method
    judgings: Sequence[Judging]  # changes of the protocol; each set is evaluated with each
    dataset: str | None = None  # the data set of all sets; None: each set's own
    seed: int | None = None  # of the networks; None: the seed of the set's distillation

    def check(self, prefix: str = "--") -> None:
        """Raise UnknownNameError or OutOfRangeError if an option is wrong in itself. Messages name
        options with ``prefix``.
        """
        require_known("protocol", self.protocol, PROTOCOL_NAMES)
        within(f"{prefix}seed", self.seed, 0)
        for judging in self.judgings:
            judging.check(prefix)


def plan_evaluations(
    sets: Sequence[StoredSet],
    asked: StoredJudging,
    data: Callable[[str], Loaded],
    workspace: Workspace,
) -> list[SetEvaluation]:
    """Return the evaluations of ``sets``, which are checked and train nothing yet.

    Args:
        sets: The sets; their data sets must be known here.
        asked: How they are evaluated.
        data: Loads a data set by its name; called once for each.
        workspace: Where and how.

    Raises:
        MismatchError: If a set does not fit its data.
    """
    for distilled in sets:
        require_known_data(distilled, asked.dataset)
    protocols = [protocol_of_set(distilled, asked.protocol) for distilled in sets]
    # own data is named by its folder, but the set stores only its name
    named = sorted({one.synthetic.spec.dataset for one in sets})
    loaded = {name: data(asked.dataset or name) for name in named}
    set_evaluations = []
    for distilled, protocol in zip(sets, protocols, strict=True):
        own = loaded[distilled.synthetic.spec.dataset]
        placed, seed = _placed(distilled, own, workspace), _seed(distilled, asked.seed)
        for judging in asked.judgings:
            applied = judging.applied_to(protocol)
            judged = (placed, own.test, applied, seed, judging.networks or applied.networks)
            set_evaluations.append(SetEvaluation(*judged, workspace, own.train, own.folder))
    for set_evaluation in set_evaluations:
        check(set_evaluation)
    return set_evaluations


def protocol_of_set(distilled: StoredSet, name: str) -> Protocol:
    """Return the protocol called ``name``; ``own`` is the protocol of the paper of the set's
    method.

    Raises:
        UnknownNameError: If there is no such protocol.
        MismatchError: If the set's method is not known here.
    """
    method, known = str(distilled.provenance.get("method")), registered()
    if name != OWN:
        return find_protocol(name)
    if method in known:
        return own_protocol(known[method])
    # the set was made by another project; its name tells the method
    if method in PROTOCOLS and "layout" in distilled.provenance:
        return PROTOCOLS[method]
    raise MismatchError(
        f"{distilled.place} was made by {method}, whose paper's protocol is not known here; "
        "choose a protocol, such as --protocol lineage"
    )


def require_known_data(distilled: StoredSet, asked: str | None) -> None:
    """Raise MismatchError unless the set's data set is known here and is the one that was asked
    for.
    """
    spec, known = distilled.synthetic.spec, (*DATASETS, *installed())
    what = (
        f"{distilled.place} holds {spec.channels}×{spec.size}×{spec.size} images made from "
        f"{spec.dataset}"
    )
    if asked is not None and asked != spec.dataset and find(asked).name != spec.dataset:
        raise MismatchError(
            f"{what}, not from {asked}; evaluate it with --dataset {option_for(spec.dataset)}"
        )
    if asked is None and spec.dataset not in known:
        raise MismatchError(
            f"{what}, which is unknown here; name its folder, as in --dataset "
            f"{option_for(spec.dataset)}, or one of {', '.join(known)}"
        )


def _placed(distilled: StoredSet, data: Loaded, workspace: Workspace) -> StoredSet:
    """Return the set. If the data has another revision than the set was made from, its evaluations
    get a folder of their own. Raises MismatchError if the set does not fit the data.
    """
    check_fit(distilled.synthetic, data.test)
    made_for = distilled.synthetic.spec
    if data.spec.revision == made_for.revision:
        return distilled
    workspace.say(
        f"{distilled.place} was made from another revision of {made_for.dataset} "
        f"({made_for.revision}, here {data.spec.revision})"
    )
    return replace(distilled, folder=revision_folder(distilled.folder, data.spec.revision))


def _seed(distilled: StoredSet, asked: int | None) -> int:
    """Return the seed that was asked for, else the set's seed, else 0."""
    own = distilled.provenance.get("seed")
    return asked if asked is not None else own if isinstance(own, int) else 0
