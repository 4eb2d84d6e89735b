"""`genre learn fit`: a policy from a run's log, published only if the log shows that it is better."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genre.component import Slot, describe, name_of
from genre.config import Config
from genre.data import Dataset
from genre.errors import ConfigError
from genre.estimators import Doubles, Evidence
from genre.files import replacing_folder, seal, unseal, write_json, write_text
from genre.learn.decisions import Decisions, decisions, of_part
from genre.learn.figures import values_of
from genre.learn.judging import against, judged
from genre.learn.sessions import by_session, with_own_rewards
from genre.learn.targeting import evidence
from genre.policies import Policy
from genre.resources import model_hash
from genre.run import Run
from genre.states import load_state, save_state
from genre.types import State

FORMAT = 2
"""Version of the layout of a policy's folder."""
SESSIONS = ("cascade_dr", "ips", "snips")
"""What judges a policy that looks ahead, by whole sessions; the first decides."""


def fit(config: Config, run: Run, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Learn on the train part, stop by the valid part, judge on the test part.

    Writes ``learn/candidate``, and the same as ``learn/policy`` if the gate lets it pass; ``learn/learn.json`` and
    ``learn/learn.html`` tell why.
    """
    section, folder = config.learn, run.path("learn")
    found = decisions(config, run)
    train, valid, test = (of_part(found, part) for part in ("train", "valid", "test"))
    learner: Any = section.fit
    policy = Slot("policies").build({"type": "learned", "temperature": learner.temperature})
    weights, curve = learner.learn(train, valid, config.seed, say)
    state = policy.start(found.n_items, found.dim)
    state["weights"], state["bias"][found.catalogue] = weights.pair, weights.item
    start = policy.start(found.n_items, found.dim)
    systems = {
        "supervised softmax": (policy, start),
        "supervised greedy": (Slot("policies").build("greedy"), {}),
        "learned": (policy, state),
    }
    if learner.over_sessions:
        config, test = _of_sessions(config), with_own_rewards(test)
        section = config.learn
    made = {name: evidence(test, one, known, config.seed) for name, (one, known) in systems.items()}
    if learner.over_sessions:
        made = {name: (by_session(test, found), exposure) for name, (found, exposure) in made.items()}
    results = {name: judged(made[name][0], section, "interactions", seed=config.seed) for name in systems}
    gate = decided(config, run, made["learned"], made["supervised softmax"], _popular(train))
    result = {
        "policy": describe(policy),
        "learner": describe(learner),
        "judged": "session" if learner.over_sessions else "slate",
        "curve": curve,
        "systems": results,
        "gate": gate,
        **found.facts,
    }
    data = Dataset.load(run.path("data")).hash
    facts = {"model": model_hash(run), "data": data, "policy": describe(policy), "gate": gate}
    facts["heads"] = list(found.heads)
    kept = {**state, **found.scales, "catalogue": found.catalogue}
    for target in ["candidate", "policy"] if gate["published"] else ["candidate"]:
        save_policy(folder / target, kept, facts)
    write_json(folder / "learn.json", result)
    write_text(folder / "learn.html", page(config.name, result, name_of(section.gate.estimator)))
    return result


def _of_sessions(config: Config) -> Config:
    """The configuration with the estimators that are right of sessions."""
    gate = replace(config.learn.gate, estimator=Slot("estimators").build(SESSIONS[0]))
    estimators = [Slot("estimators").build(name) for name in SESSIONS]
    return replace(config, learn=replace(config.learn, gate=gate, estimators=estimators))


def save_policy(folder: Path, state: State, facts: dict[str, Any]) -> None:
    """Write a policy's state, sealed with what it is and what it was made from."""
    with replacing_folder(folder) as aside:
        save_state(aside / "state.safetensors", state)
        seal(aside, FORMAT, **facts)


def load_policy(folder: Path) -> tuple[Policy, State, dict[str, Any]]:
    """A policy that `fit` wrote, its state and its manifest. Raises `RunError` where it is missing or damaged."""
    manifest = unseal(folder, FORMAT, "genre learn fit")
    return Slot("policies").build(manifest["policy"]), load_state(folder / "state.safetensors"), manifest


def _popular(train: Decisions) -> Doubles:
    """How often each item was shown in the slates that taught: ``[m]``."""
    return np.bincount(train.item[train.shown], minlength=len(train.catalogue)).astype(np.float64)


def decided(
    config: Config,
    run: Run,
    learned: tuple[Evidence, Doubles],
    start: tuple[Evidence, Doubles],
    popular: Doubles,
) -> dict[str, Any]:
    """Whether a learned policy is published: its gain over the log is surely above 0, and no guard is worse.

    Guards compare it with the supervised softmax, which would be served in its place.
    """
    section = config.learn.gate
    gain = against(section.estimator, learned[0], config.learn, config.seed)["gain"]
    better = gain["ci"] is not None and gain["ci"][0] > 0
    why = [] if better else [f"its gain over the log is not surely above 0: {gain['value']:.4f} {gain['ci'] or ''}"]
    guards = {}
    for name in section.guards:
        before, after = (_guard(name, config, run, *one, popular) for one in (start, learned))
        held = after >= before - section.tolerance * abs(before)
        guards[name] = {"supervised": before, "learned": after, "held": bool(held)}
        if not held:
            why.append(f"{name} fell from {before:.4f} to {after:.4f}, by more than {section.tolerance:.0%}")
    return {"published": not why, "why": why, "estimator": describe(section.estimator), "gain": gain, "guards": guards}


def _guard(name: str, config: Config, run: Run, made: Evidence, exposure: Doubles, popular: Doubles) -> float:
    if name == "diversity":
        some = exposure[exposure > 0]
        return float(np.exp(-(some * np.log(some)).sum()))
    if name == "tail":
        return float(exposure[np.argsort(-popular, kind="stable")[len(popular) // 2 :]].sum())
    column = config.learn.gate.group
    users: Any = Dataset.load(run.path("data")).users
    if column is None or column not in users.column_names:
        known = ", ".join(one for one in users.column_names if one != "user_id")
        raise ConfigError([f"learn.gate.group: worst_group needs a column of the users: {known or 'it has none'}"])
    words = np.array([str(one) for one in users[column].to_pylist()])[made.person]
    values = [
        config.learn.gate.estimator.estimate(made.where(words == word)).value
        for word in np.unique(words)
        if (words == word).sum() >= 30
    ]
    return float(min(values)) if values else 0.0


def page(name: str, result: dict[str, Any], estimator: str) -> str:
    """The decision, its picture and its numbers as one page."""
    gate = result["gate"]
    said = "published" if gate["published"] else "not published: " + "; ".join(gate["why"])
    names = sorted({one for found in result["systems"].values() for one in found["values"]})
    rows = "".join(
        f"<tr><td>{html.escape(system)}</td>{''.join(_cell(found['values'].get(one)) for one in names)}</tr>"
        for system, found in result["systems"].items()
    )
    guards = "".join(
        f"<li>{html.escape(one)}: {found['supervised']:.4f} supervised, {found['learned']:.4f} learned, "
        f"{'held' if found['held'] else 'worse'}</li>"
        for one, found in gate["guards"].items()
    )
    warned = "".join(f"<li>{html.escape(one)}</li>" for one in result["systems"]["learned"]["warnings"])
    style = "body{font:15px/1.5 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2129}"
    style += "table{border-collapse:collapse;font-size:13px}td,th{padding:.25rem .6rem;border-bottom:1px solid #e0e3e8}"
    style += "div{overflow-x:auto}svg{max-width:100%;height:auto}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}: learned policy</title>'
        f"<style>{style}</style><h1>{html.escape(name)}: a policy learned from the log</h1>"
        f"<p><b>{html.escape(said)}</b></p>"
        f"<p>Mean reward of a {result['judged']} of the test part, by <code>{html.escape(estimator)}</code>, with "
        "intervals.</p>"
        f"{values_of(result['systems'], estimator)}<div><table><tr><th>policy</th>"
        + "".join(f"<th>{html.escape(one)}</th>" for one in names)
        + f"</tr>{rows}</table></div><h2>Guards</h2><ul>{guards}</ul>"
        f"<h2>To mistrust</h2><ul>{warned or '<li>nothing</li>'}</ul></html>\n"
    )


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "<td>-</td>"
    ends = "" if found["ci"] is None else f"<br>[{found['ci'][0]:.4f}, {found['ci'][1]:.4f}]"
    return f"<td>{found['value']:.4f}{ends}</td>"
