"""One map by several calls, each of which predicts a share of its rows, and one that makes the map of them."""

from collections.abc import Mapping
from pathlib import Path

from thalweg.errors import ImageError, ShareError
from thalweg.infer.scene import SceneJob
from thalweg.infer.state import State, code_sha256, forget
from thalweg.manifest.card import ModelCard
from thalweg.manifest.scene import Scene
from thalweg.predict.apply import Fill, Settings, Shown, Target, Tell, map_scenes
from thalweg.predict.run import Order, check, check_area, key_of, prepared
from thalweg.predict.shares import (
    STATES,
    Kept,
    Mark,
    Share,
    agreed,
    making,
    read_finished,
    taking,
    to_rows,
    write_mark,
)


def check_splittable(order: Order) -> None:
    """Whether calls can divide the rows of an order.

    Raises:
        ImageError: It is an ensemble's.
    """
    if order.source.ensemble is not None:
        raise ImageError(
            f"{order.source.name} is an ensemble, whose rows are not split between calls; map by one of its models, or "
            "let the stage `ensemble` predict on an executor"
        )


def predict_share(order: Order, out: Path, work: Path, share: Share, shown: Shown) -> None:
    """Predicts a share of the rows of each image into `work`, where `merge` and `predict` find what is finished.

    Args:
        order: Of one model.
        out: Folder of the map; where it is there already, nothing is done.
        work: As for `predict`, on a disk that all who predict a share see.
        share: Which.
        shown: Shows progress.

    Raises:
        ShareError: Another call predicts the share, or makes the map.
        ImageError: It is an ensemble's.
        ThalwegError: As for `predict`.
    """
    check_splittable(order)
    if out.exists():
        return
    check(order)
    with taking(work, share):
        if not out.exists():
            _predict(order, work / key_of(order), share, shown)
            return
    forget(work)  # the map was made while this call came here


def merge(order: Order, out: Path, work: Path, of: int, shown: Shown) -> tuple[str, ...]:
    """Makes the map of shares that are all finished, and predicts nothing: no accelerator is needed.

    Args:
        order: Of one model.
        out: Folder of the map; made, whole or not at all.
        work: Where the shares are.
        of: Number of shares.
        shown: Shows progress.

    Returns:
        Names of the scenes.

    Raises:
        ShareError: A share is missing or still at work.
        ThalwegError: As for `predict`.
    """
    check_splittable(order)
    check(order, device=False)
    place, [card] = work / key_of(order), order.source.cards.values()
    with making(work):
        marks = read_finished(place, of, code_sha256(card.architecture))
        _check_all(out, marks, of)
        scenes = prepared(card, order, place, shown)
        check_area(order, {card.grid: scenes})
        target = Target(place / "map", out, order.source.models(place), order.source.weights())
        map_scenes(card, scenes, order.settings, target, _joined(card, order.settings, place, marks[1]), shown)
        out.parent.mkdir(parents=True, exist_ok=True)
        target.folder.replace(out)
        forget(work)
    return tuple(sorted(scenes))


def unfinished(order: Order, work: Path, of: int) -> list[int]:
    """Numbers of the shares that are still to be predicted."""
    check_splittable(order)
    [card] = order.source.cards.values()
    done = read_finished(work / key_of(order), of, code_sha256(card.architecture))
    return [number for number in range(1, of + 1) if number not in done]


def _predict(order: Order, place: Path, share: Share, shown: Shown) -> None:
    [(member, card)] = order.source.cards.items()
    scenes = prepared(card, order, place, shown)
    predictor = order.source.load(member, order.settings.device, order.settings.views)
    members, names = {card.member: predictor}, tuple(info.name for info in card.classes)
    kept: dict[str, Kept] = {}
    for name, scene in scenes.items():
        job = SceneJob.of(scene, order.settings.how(card), names, order.settings.area(scene.grid), {}, place / STATES)
        [alone] = job.plan(members, order.settings.memory_gib)
        part = agreed(place, name, predictor.device.type, alone)
        states = {one: state for one in part.members if (state := job.state_of(one, predictor, part))}
        height = scene.grid.shape_yx[0]
        start, stop = share.rows(height)
        with shown(f"predicting rows {start} to {stop} of {name}") as tell:
            job.keep(lambda: members, part, states, (start, stop), tell)
        kept[name] = Kept(height=height, folder=states[card.member].folder.name)
    write_mark(place, share, Mark(code=code_sha256(card.architecture), images=kept))


def _check_all(out: Path, marks: Mapping[int, Mark], of: int) -> None:
    missing = [number for number in range(1, of + 1) if number not in marks]
    if missing:
        which = f"share{'s' * (len(missing) > 1)} {', '.join(map(str, missing))} of {of}"
        raise ShareError(
            f"{out} cannot be made: {which} ({to_rows(marks, missing, of)}) did not come to an end, or were predicted "
            "with other options, by other code or on another kind of device than the rest; run the same command with "
            f"--split {missing[0]} instead of --merge, and so on, or with --submit, which hands over the missing "
            "shares alone"
        )


def _joined(card: ModelCard, settings: Settings, place: Path, mark: Mark) -> Fill:
    """Bands to rasters."""
    names = tuple(info.name for info in card.classes)

    def fill(scene: Scene, path: Path, tell: Tell) -> None:
        state = State(place / STATES / mark.images[scene.name].folder)
        SceneJob.of(scene, settings.how(card), names, settings.area(scene.grid), {}, None).join(state)
        path.parent.mkdir(parents=True, exist_ok=True)
        state.give(path)
        tell(1)

    return fill
