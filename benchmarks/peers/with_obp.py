"""The Open Bandit Pipeline's estimates of a log, as JSON: run with its packages on the path.

    python with_obp.py LOG.npz

The log holds ``reward``, ``action``, ``logged`` and ``position`` of each row, ``target [rows, actions]`` and
``predicted [rows, actions]``; of slates ``slate_reward``, ``slate_logged``, ``slate_target [slates, places]``,
``slate_action``, ``slate_predicted`` and ``slate_chances [slates, places, actions]``; and ``most``, a limit of weights.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np

warnings.simplefilter("ignore")

from obp.ope import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    DirectMethod,
    DoublyRobust,
    InverseProbabilityWeighting,
    SelfNormalizedInverseProbabilityWeighting,
    SlateCascadeDoublyRobust,
    SlateIndependentIPS,
    SwitchDoublyRobust,
)


def of_rows(log: Any) -> dict[str, float]:
    """Estimates of single places."""
    place = np.zeros(len(log["reward"]), dtype=int)
    dist, model, most = log["target"][:, :, None], log["predicted"][:, :, None], float(log["most"])
    rows = {"reward": log["reward"], "action": log["action"], "pscore": log["logged"]}
    rows |= {"action_dist": dist, "position": place}
    both = {**rows, "estimated_rewards_by_reg_model": model}
    direct = {"action_dist": dist, "estimated_rewards_by_reg_model": model, "position": place}
    return {
        "ips": InverseProbabilityWeighting().estimate_policy_value(**rows),
        "snips": SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**rows),
        "clipped_ips": InverseProbabilityWeighting(lambda_=most).estimate_policy_value(**rows),
        "direct": DirectMethod().estimate_policy_value(**direct),
        "doubly_robust": DoublyRobust().estimate_policy_value(**both),
        "switch_dr": SwitchDoublyRobust(lambda_=most).estimate_policy_value(**both),
    }


def of_slates(log: Any) -> dict[str, float]:
    """Estimates of slates."""
    n, k, actions = log["slate_chances"].shape
    rows = {"slate_id": np.repeat(np.arange(n), k), "position": np.tile(np.arange(k), n)}
    rows["reward"] = log["slate_reward"].ravel()
    logged, target = log["slate_logged"], log["slate_target"]
    independent = SlateIndependentIPS(len_list=k).estimate_policy_value(
        **rows, pscore_item_position=logged.ravel(), evaluation_policy_pscore_item_position=target.ravel()
    )
    cascade = SlateCascadeDoublyRobust(len_list=k, n_unique_action=actions).estimate_policy_value(
        **rows,
        action=log["slate_action"].ravel(),
        pscore_cascade=np.cumprod(logged, 1).ravel(),
        evaluation_policy_pscore_cascade=np.cumprod(target, 1).ravel(),
        q_hat=log["slate_predicted"].ravel(),
        evaluation_policy_action_dist=log["slate_chances"].ravel(),
    )
    return {"independent": independent, "cascade_dr": cascade}


if __name__ == "__main__":
    given = np.load(sys.argv[1])
    print(json.dumps({name: float(value) for name, value in {**of_rows(given), **of_slates(given)}.items()}))
