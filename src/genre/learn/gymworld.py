"""A world as a Gymnasium environment, for libraries of reinforcement learning."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import gymnasium
except ImportError as error:  # pragma: no cover
    raise ImportError("a world as a Gymnasium environment needs the extra learn: pip install '.[learn]'") from error

from genre.environments import Environment, World
from genre.learn.knowledge import Knowledge
from genre.learn.playing import FEATURES, Table
from genre.policies import Arms


class WorldEnv(gymnasium.Env[dict[str, Any], Any]):
    """One person's visits are an episode, a slate is an action: items by their row, from the top.

    An observation holds, for every item, ``scores``, ``contexts`` and ``open``: whether it may be shown. An item that
    may not, or stands twice in a slate, earns nothing. ``info`` has the ``regret``. The delay of a world is not played.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, environment: Environment, slate: int = 1, rounds: int = 2000, seed: int = 0) -> None:
        self.environment, self.slate, self.rounds = environment, slate, rounds
        self.world: World = environment.build(rounds, seed)
        n = len(self.world.new)
        self.knowledge = Knowledge.of(self.world, "past")
        self.visits = max(1, rounds // max(len(self.world.expected), 1))
        box, dim = gymnasium.spaces.Box, FEATURES + self.knowledge.topics.shape[1]
        self.observation_space = gymnasium.spaces.Dict(
            {
                "scores": box(-np.inf, np.inf, (n,), np.float32),
                "contexts": box(-np.inf, np.inf, (n, dim), np.float32),
                "open": gymnasium.spaces.MultiBinary(n),
            }
        )
        self.action_space = gymnasium.spaces.MultiDiscrete(np.full(slate, n))
        self.person, self.at, self.table = 0, 0, Table(self.world, self.knowledge)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        """Another person comes."""
        super().reset(seed=seed)
        self.person, self.at = int(self.np_random.integers(len(self.world.expected))), 0
        self.table = Table(self.world, self.knowledge)
        return self._seen(self.table.arms(self.person)), {"person": self.person}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Show a slate."""
        arms = self.table.arms(self.person)
        item = np.array(
            [one for one in dict.fromkeys(np.asarray(action).tolist()) if one in set(arms.item.tolist())], int
        )
        truth = self.world.now(self.person, self.at)
        reward = self.world.reward(self.person, item.astype(np.int32), self.at, self.np_random)
        best = np.sort(truth[arms.item])[::-1][: self.slate].sum()
        self.table.show(self.person, item)
        self.table.earn(self.person, item, reward)
        self.at += 1
        after = self.table.arms(self.person)
        done = self.at >= self.visits or not len(after)
        return self._seen(after), float(reward.sum()), done, False, {"regret": float(best - truth[item].sum())}

    def _seen(self, arms: Arms) -> dict[str, Any]:
        n = len(self.world.new)
        scores, still = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.int8)
        contexts = np.zeros((n, arms.contexts.shape[1]), dtype=np.float32)
        scores[arms.item], contexts[arms.item], still[arms.item] = arms.scores, arms.contexts, 1
        return {"scores": scores, "contexts": contexts, "open": still}
