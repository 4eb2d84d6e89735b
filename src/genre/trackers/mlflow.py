"""MLflow."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

from genre.component import component
from genre.errors import GenreError
from genre.files import write_text
from genre.trackers import Result, Session, Tracked

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 500
"""Characters of a parameter that MLflow keeps in every version."""


@component
class MLflow:
    """Runs in an MLflow server, or in a folder of files that needs none.

    Needs the extra `track` (mlflow-skinny). A run that is stopped and goes on stays one run there. https://mlflow.org.
    """

    uri: str = "runs/mlruns"
    """Where: the address of a server, or a folder."""
    experiment: str = "genre"
    """The experiment that the runs appear in."""

    def start(self, run: Tracked) -> Session:
        import os

        # Files serve well for one person; MLflow would have everybody run a database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise GenreError("track: mlflow is not installed; pip install 'genre-recommender[track]'") from error
        client = MlflowClient(tracking_uri=self.uri)
        found = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
        place = run.folder / "track" / "mlflow"
        if not place.exists():
            made = client.create_run(experiment, run_name=run.name).info.run_id
            for name, value in flat(run.config):
                client.log_param(made, name, value)
            write_text(place, made)
        return Remote(client, place.read_text(encoding="utf-8"))


class Remote:
    """The run as MLflow has it."""

    def __init__(self, client: Any, number: str) -> None:
        self.client, self.number = client, number

    def log(self, step: int, values: dict[str, float]) -> None:
        """See `Session.log`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.number, metrics=[Metric(_name(n), v, now, step) for n, v in values.items()])

    def finish(self, result: Result | None) -> None:
        """See `Session.finish`."""
        if result is None:
            return
        from PIL import Image

        self.log(0, {f"result/{name}": value for name, value in result.values.items()})
        self.client.log_text(self.number, json.dumps(result.examples, indent=1, ensure_ascii=False), "examples.json")
        for name, picture in result.pictures.items():
            with Image.open(io.BytesIO(picture)) as pixels:
                self.client.log_image(self.number, pixels, f"{name}.png")
        for name, path in result.files.items():
            self.client.set_tag(self.number, f"file.{name}", str(path))
        self.client.set_terminated(self.number)


def _name(name: str) -> str:
    """A name of letters that MLflow takes: ``valid/ndcg@10`` is ``valid/ndcg_at_10``."""
    return name.replace("@", "_at_")


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Settings as dotted names and short texts."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from flat(one, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, (value if isinstance(value, str) else json.dumps(value))[:LONGEST]
