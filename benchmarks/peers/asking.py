"""A program of a side environment that does its work once for each line that it is sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Asked:
    """The running program, and what it said last."""

    def __init__(self, python: Path, program: Path, arguments: Sequence[str]) -> None:
        command = [str(python), str(program), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: dict[str, Any] = {}

    def run(self) -> float:
        """Do it once; the seconds that it says it took. Raises `RuntimeError` with its last words when it ends."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        try:
            self.process.stdin.write("again\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read()[-2000:])
        self.said = json.loads(line)
        return self.said["seconds"]

    def close(self) -> None:
        """End the program."""
        self.process.communicate()
