"""Train every method on every partition, and lock its threshold."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from axilla.core import store
from axilla.core.errors import StatisticsError
from axilla.core.methods import method_spec
from axilla.core.progress import Reporter
from axilla.core.types import Partition
from axilla.features.encoders import build_encoder
from axilla.features.registry import encoder_spec
from axilla.mil.boosting import fit_boosting
from axilla.mil.bundle import Bundle, Member
from axilla.mil.clinical import Preprocessor, fit_logistic, fit_preprocessor
from axilla.mil.history import SCALARS
from axilla.mil.model import DLCNB
from axilla.mil.resuming import forget_training
from axilla.mil.training import History, Keeping, TrainingData, train
from axilla.study.aside import set_aside
from axilla.study.completing import bring_up_to_date
from axilla.study.fitting import Fitting
from axilla.study.instances import bag_drawer, instances_of
from axilla.study.layout import Layout
from axilla.study.locking import lock_threshold
from axilla.study.members import (
    Trained,
    forget_members,
    history_frame,
    join_folds,
    join_histories,
    kept_members,
    write_bundle,
)
from axilla.study.model_card import write_card
from axilla.study.model_records import model_record
from axilla.study.nuclei_bags import seen_by
from axilla.study.processes import is_helper
from axilla.study.reference import Vectors


def train_all(fitting: Fitting, *, reporter: Reporter) -> dict[tuple[str, str], str]:
    """Train what is not trained yet; the key of each (method, partition)."""
    layout = Layout(fitting.config.out)
    wanted = [(m, p) for m in fitting.config.methods for p in fitting.partitions]
    views = {(m, p.name): seen_by(fitting, m, p) for m, p in wanted}
    keys = {(m, p.name): views[m, p.name].key(m, p) for m, p in wanted}
    todo = [
        (method, partition)
        for method, partition in wanted
        if store.read_model_key(layout.model(method, partition.name))
        != keys[method, partition.name]
    ]
    for method, partition in todo:
        if is_helper():
            if method_spec(method).images:
                view = views[method, partition.name]
                _train_members(view, method, partition, reporter=reporter)
            continue
        key = keys[method, partition.name]
        _train_one(views[method, partition.name], method, partition, key=key, reporter=reporter)
    if is_helper():
        return keys
    vectors: Vectors = {}
    for method, partition in wanted:
        view = views[method, partition.name]
        bring_up_to_date(view, method, partition, key=keys[method, partition.name], known=vectors)
        write_card(layout.model(method, partition.name))
        forget_members(view, method, partition)
    _refuse_without_threshold(fitting, reporter=reporter)
    if len(fitting.partitions) > 1:
        for method in fitting.config.methods:
            own = [keys[method, p.name] for p in fitting.partitions]
            join_folds(fitting, method, keys=own, known=vectors)
            write_card(layout.ensemble(method))
    for sentence in set_aside(fitting):
        reporter.say(f"note      {sentence}")
    models = f"{len(wanted)} model{'s' if len(wanted) != 1 else ''}"
    reporter.done("train", models + (f", {len(todo)} now" if todo else ", done before"))
    return keys


def _train_one(
    fitting: Fitting, method: str, partition: Partition, *, key: str, reporter: Reporter
) -> None:
    members = _members(fitting, method, partition, reporter=reporter)
    bundle = _bundle(fitting, method, partition, members)
    locked = lock_threshold(fitting, bundle, partition)
    bundle = replace(bundle, record={**bundle.record, **locked})
    folder = Layout(fitting.config.out).model(method, partition.name)
    write_bundle(folder, bundle, history=join_histories(members), key=key)
    forget_training(folder)


def fit_bundle(
    fitting: Fitting, method: str, partition: Partition, *, reporter: Reporter
) -> Bundle:
    """Train a method, without a threshold and without writing a model.

    An interrupted training goes on from the state that it keeps in the model's folder.
    """
    members = _members(fitting, method, partition, reporter=reporter)
    return _bundle(fitting, method, partition, members)


def _members(
    fitting: Fitting, method: str, partition: Partition, *, reporter: Reporter
) -> list[Trained]:
    if method_spec(method).images:
        return _train_members(fitting, method, partition, reporter=reporter)
    return [_fit_clinical(fitting, method, partition)]


def _bundle(fitting: Fitting, method: str, partition: Partition, members: list[Trained]) -> Bundle:
    """Of these members, without a threshold."""
    record = model_record(fitting, method, partition, first_weights=members[0].first_weights)
    record["members"] = [trained.told for trained in members]
    record["best_epoch"] = members[0].told["best_epoch"] if len(members) == 1 else None
    return Bundle(
        method=method,
        classes=fitting.cohort.classes,
        record=record,
        members=tuple(trained.member for trained in members),
    )


def _fit_clinical(fitting: Fitting, method: str, partition: Partition) -> Trained:
    patients, config = fitting.patients(partition, "train"), fitting.config.clinical
    classes = len(fitting.cohort.classes)
    model = (
        fit_boosting(patients, classes=classes, config=config, seed=partition.seed)
        if method == "clinical-boosting"
        else fit_logistic(patients, classes=classes, config=config)
    )
    told = _told(fitting, method, partition, seed=partition.seed, history=None)
    return Trained(member=Member(clinical_model=model), told=told)


def _train_members(
    fitting: Fitting, method: str, partition: Partition, *, reporter: Reporter
) -> list[Trained]:
    """Every member; one that is trained already is taken, one of several is kept at once."""
    layout = Layout(fitting.config.out)
    seeds = fitting.seeds(method, partition)
    kept = kept_members(fitting, method, partition)
    preprocessor = None
    if method_spec(method).clinical:
        patients = fitting.patients(partition, "train")
        preprocessor = fit_preprocessor(patients, config=fitting.config.clinical)
    members: list[Trained] = []
    for index, seed in enumerate(seeds):
        key = fitting.member_key(method, partition, seed)
        if key in kept:
            members.append(kept[key])
            continue
        title = f"Training {method}" + ("" if partition.name == "split" else f" {partition.name}")
        title += f", {index + 1} of {len(seeds)}" if len(seeds) > 1 else ""
        alone = layout.member(method, partition.name, index)
        keeping = Keeping(layout.model(method, partition.name), key, reporter.say)
        if len(seeds) > 1:
            # A member's own folder goes once the ensemble is whole; its scalars are to stay.
            scalars = keeping.folder / SCALARS / str(index)
            keeping = replace(keeping, folder=alone, scalars=scalars)
        network, history = _train_network(
            fitting, method, partition, preprocessor, seed=seed, title=title, keeping=keeping,
            reporter=reporter,
        )  # fmt: skip
        told = _told(fitting, method, partition, seed=seed, history=history)
        trained = Trained(
            member=Member(network=network, preprocessor=preprocessor),
            told=told,
            history=history_frame(history),
            first_weights=_first_weights(network),
        )
        members.append(trained)
        if len(seeds) > 1 and not is_helper():
            own = _bundle(fitting, method, partition, [trained])
            write_bundle(alone, own, history=trained.history, key=key)
            forget_training(alone)
    return members


def _told(
    fitting: Fitting, method: str, partition: Partition, *, seed: int, history: History | None
) -> dict[str, Any]:
    return {
        "key": fitting.member_key(method, partition, seed),
        "seed": seed,
        "partition": partition.name,
        "best_epoch": None if history is None else history.best,
        "epochs": None if history is None else len(history.epochs),
        "bins": None if fitting.feature_bags is None else fitting.feature_bags.record(),
    }


def _first_weights(network: DLCNB) -> str | None:
    """Digest of what an encoder began with; random weights follow from the seed."""
    digest = getattr(network.encoder, "weights_digest", None)
    return None if digest is None or str(digest).startswith("none-") else str(digest)


def _train_network(
    fitting: Fitting,
    method: str,
    partition: Partition,
    preprocessor: Preprocessor | None,
    *,
    seed: int,
    title: str,
    keeping: Keeping,
    reporter: Reporter,
) -> tuple[DLCNB, History]:
    config = fitting.config
    if fitting.slides is None:
        raise ValueError("an image method needs slides")
    make_instances = functools.partial(instances_of, preprocessor=preprocessor, bags=fitting.bags)
    data = TrainingData(
        train=make_instances(fitting.patients(partition, "train")),
        val=make_instances(fitting.patients(partition, "val")),
        slides=fitting.slides,
        draw=bag_drawer(config.bags),
        classes=len(fitting.cohort.classes),
    )
    encoder_config = config.encoder
    imported = fitting.imported
    length = encoder_spec(encoder_config.name).features if imported is None else imported.dimension

    def make_model() -> DLCNB:
        trained = build_encoder(encoder_config, seed=seed) if encoder_config.trainable else None
        return DLCNB(
            encoder=trained,
            features=length,
            clinical=0 if preprocessor is None else preprocessor.width,
            classes=data.classes,
            config=config.aggregator_of(method),
        )

    with reporter.epochs(config.training.epochs, title) as on_epoch:
        return train(
            make_model,
            data,
            config=config.training,
            bags=config.bags,
            seed=seed,
            on_epoch=on_epoch,
            keeping=keeping,
        )


def _refuse_without_threshold(fitting: Fitting, *, reporter: Reporter) -> None:
    """Tell of models whose rule no threshold reaches; of folds the others have theirs.

    Raises
    ------
    StatisticsError
        A method has no threshold in the one split there is. Its model is kept: another
        `threshold:` needs no new training.
    """
    layout = Layout(fitting.config.out)
    for method in fitting.config.methods:
        for partition in fitting.partitions:
            record = store.read_model_record(layout.model(method, partition.name))
            reason = record["threshold"].get("reason")
            if reason is None:
                continue
            if len(fitting.partitions) > 1:
                reporter.say(f"note      {method}, {partition.name}: {reason}.")
                continue
            raise StatisticsError(
                f"method {method}, validation patients of the {partition.name}: {reason}.",
                "The model is trained and kept: set another `threshold:` and run again.",
            )
