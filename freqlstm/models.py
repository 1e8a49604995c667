"""Fitted signals in files: what identifies one, and the signals that another is made of.

A fitted signal is kept in ``models/SIGNAL/MODEL_ID/``; MODEL_ID is a digest of everything that decides what it is: all
sources, parameters, library versions and candles, and the same of every signal that it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError, UsageError
from freqlstm.features import companions
from freqlstm.parameters import declared
from freqlstm.plugins import Plugin, find
from freqlstm.progress import Progress
from freqlstm.signal import Signal, prediction_table

Market = dict[str, Candles]
# Parameters that a signal hands on to those that it is made of. With another share they would have learned from rows
# on which it weighs them.
SHARED = ("horizon", "target", "seed", "cross", "validation")


def signal_class(plugin: Plugin) -> type[Signal]:
    """The class of a plugin that has to be a signal."""
    loaded = plugin.load()
    if not issubclass(loaded, Signal):
        raise PluginError(f"{plugin.path} does not hold a signal. Its class must subclass freqlstm.Signal.")
    return loaded


def source_digest(plugin: Plugin) -> str:
    """SHA-256 over all sources of a plugin, which must not have changed since it was found."""
    if provenance.file_digest(plugin.path) != plugin.digest:
        raise PluginError(f"{plugin.path} was changed while it was being used. Run again.")
    return provenance.source_digest(plugin.path)


def identity(plugin: Plugin, parameters: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the candles that decides what a fitted signal is; ``members`` are those of :func:`members_of`."""
    return {
        "signal": plugin.name,
        "source": source_digest(plugin),
        "versions": provenance.library_versions(plugin.path),
        "parameters": dict(parameters),
        **({"members": dict(members)} if members else {}),
    }


def model_id(identity: Mapping[str, Any], market: Market) -> str:
    """The name of the folder of a signal fitted on these candles."""
    digests = {symbol: candles.digest for symbol, candles in market.items()}
    return provenance.fingerprint({**identity, "candles": digests})[:16]


def model_folder(models: Path, plugin: Plugin, signal: Signal, market: Market) -> Path:
    """Where a signal fitted on these candles is kept."""
    return models / plugin.name / model_id(identity(plugin, signal.parameters, members_of(signal)), market)


# The signals that another is made of


def members_of(signal: Signal) -> dict[str, dict[str, Any]]:
    """The identity of every signal that ``signal`` is made of, by its name."""
    found = {}
    for name in signal.uses:
        plugin, member = unfitted_member(signal, name)
        found[name] = identity(plugin, member.parameters, members_of(member))
    return found


def read_beside(signal: Signal) -> list[str]:
    """The symbols and external series that a signal, or one that it is made of, reads beside a symbol's own candles."""
    found = {name for names in companions(signal.all_features) for name in names}
    for name in signal.uses:
        found |= {*read_beside(unfitted_member(signal, name)[1])}
    return sorted(found)


def are_current(members: Mapping[str, Any], root: Path) -> bool:
    """Whether the files behind these identities are still what they were; imports none of them."""
    for name, known in members.items():
        plugin = find("signal", name, root)
        now = identity(plugin, known["parameters"], known.get("members", {}))
        if provenance.fingerprint(now) != provenance.fingerprint(known):
            return False
        if not are_current(known.get("members", {}), root):
            return False
    return True


def unfitted_member(owner: Signal, name: str) -> tuple[Plugin, Signal]:
    """The plugin ``name`` and a signal of it with what ``owner`` hands on: see :data:`SHARED`."""
    plugin = find("signal", name, owner._project)
    kind = signal_class(plugin)
    inside = (*owner._inside, type(owner).__module__)
    if kind.__module__ == inside[-1]:
        raise PluginError(f"{type(owner).__name__} names itself among the signals that it is made of. Name others.")
    if kind.__module__ in inside:
        raise PluginError(
            f"{type(owner).__name__} names {kind.__name__}, which is made of {type(owner).__name__} itself. Name others."
        )
    known = declared(kind)
    handed = {each: getattr(owner, each) for each in SHARED if each in known and hasattr(owner, each)}
    try:
        with plugin.blamed():
            member = kind(**handed)
    except UsageError as error:
        raise UsageError(f"{type(owner).__name__} is made of {name}. {error} Name others.") from error
    member.keep_members_in(owner.kept_in)
    member._inside = inside
    return plugin, member


def fitted_member(owner: Signal, name: str, market: Market, progress: Progress) -> Signal:
    """The signal ``name`` fitted on the same candles as ``owner``: read from its files if it was fitted before."""
    plugin, member = unfitted_member(owner, name)
    if not member.needs_fit:
        return member
    spare = owner.warmup - member.warmup  # bars: without them it is the very fit that the member has by itself
    market = {
        symbol: candles.between(candles.time[0] + spare * candles.step, None) if len(candles) else candles
        for symbol, candles in market.items()
    }
    folder = None if owner.kept_in is None else model_folder(owner.kept_in, plugin, member, market)
    with plugin.blamed():
        if folder is not None and folder.is_dir():
            with suppress(ModelError):  # what is damaged is fitted again
                return type(member).load(folder)
        member.fit(market, progress)
        if folder is not None:
            member.save(folder)
    return member


def unseen_from(members: Iterable[Signal]) -> int:
    """The bar, counted since 1970, from which on all of these were only validated: they may be weighed there and not before.

    Of a signal that does not tell where its validation begins, nothing is known.
    """
    return max((getattr(member, "validated_from_", 0) for member in members), default=0)


def said_by(member: Signal, candles: Candles) -> np.ndarray:
    """Shape (bars,): what a member predicts; nothing of a symbol of which it had too few candles to learn from."""
    if not member.speaks_for(candles.symbol):
        return np.full(len(candles), np.nan)
    return prediction_table(member, candles)["prediction"].to_numpy()


def save_member(owner: Signal, name: str, member: Signal, folder: Path) -> None:
    """Write the fitted signal ``name`` into the folder in which ``owner`` is being saved."""
    if member.needs_fit:
        member.save(folder / unfitted_member(owner, name)[0].name)


def loaded_member(owner: Signal, name: str, folder: Path) -> Signal:
    """The signal ``name`` that ``owner`` saved in its own folder."""
    plugin, member = unfitted_member(owner, name)
    if not member.needs_fit:
        return member
    place = folder / plugin.name
    with plugin.blamed():
        found = type(member).load(place)
    if found.parameters != member.parameters:
        raise ModelError(f"{place} was fitted with other parameters than its owner has. Fit it again.")
    return found
