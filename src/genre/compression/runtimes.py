"""Programs that run an exported language model: ONNX Runtime, OpenVINO, CTranslate2, and a table of vectors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genre.errors import GenreError
from genre.types import Bools, Floats, Ints


def threads() -> int:
    """Threads that a runtime may use: ``OMP_NUM_THREADS``, else one a core."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def needs(package: str) -> GenreError:
    """What to say where a package of the extra is not installed."""
    return GenreError(f"{package} is not installed; compressing wants it: pip install 'genre-recommender[compress]'")


class OnnxRunner:
    """ONNX Runtime on the processor."""

    runtime: ClassVar[str] = "onnxruntime"

    def __init__(self, file: Path, hidden_size: int) -> None:
        self.file, self.hidden_size = file, hidden_size
        self._session = onnx_session(file)

    def states(self, ids: Ints, real: Bools) -> Floats:
        """See `genre.compressors.Runner`."""
        return self._session.run(None, {"ids": ids.astype(np.int64), "real": real.astype(np.int64)})[0]

    def save(self, folder: Path) -> None:
        """The graph, which holds the weights."""
        _write(folder, self.hidden_size)
        shutil.copy(self.file, folder / "model.onnx")

    @classmethod
    def load(cls, folder: Path) -> OnnxRunner:
        """What `save` wrote."""
        return cls(folder / "model.onnx", _read(folder))


def onnx_session(file: Path) -> Any:
    """ONNX Runtime's session of a graph. Raises `GenreError` where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise needs("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


class OpenVinoRunner:
    """OpenVINO on the processor."""

    runtime: ClassVar[str] = "openvino"

    def __init__(self, file: Path, hidden_size: int) -> None:
        self.file, self.hidden_size = file, hidden_size
        self._compiled = openvino_model(file)

    def states(self, ids: Ints, real: Bools) -> Floats:
        """See `genre.compressors.Runner`."""
        given = {"ids": ids.astype(np.int64), "real": real.astype(np.int64)}
        return np.array(self._compiled(given)[0])

    def save(self, folder: Path) -> None:
        """The graph and its weights, two files."""
        _write(folder, self.hidden_size)
        for suffix in (".xml", ".bin"):
            shutil.copy(self.file.with_suffix(suffix), folder / f"model{suffix}")

    @classmethod
    def load(cls, folder: Path) -> OpenVinoRunner:
        """What `save` wrote."""
        return cls(folder / "model.xml", _read(folder))


def openvino_model(file: Path) -> Any:
    """A graph compiled by OpenVINO. Raises `GenreError` where it is not installed."""
    try:
        import openvino
    except ImportError as error:
        raise needs("openvino") from error
    # By itself it would compute in bfloat16 where the processor has that, and differ from machine to machine.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads(), "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(str(file), "CPU", settings)


class CTranslateRunner:
    """CTranslate2's encoder on the processor."""

    runtime: ClassVar[str] = "ctranslate2"

    def __init__(self, folder: Path, hidden_size: int) -> None:
        try:
            import ctranslate2
        except ImportError as error:
            raise needs("ctranslate2") from error
        self.folder, self.hidden_size = folder, hidden_size
        self._of = ctranslate2.StorageView.from_array
        self._encoder = ctranslate2.Encoder(str(folder), "cpu", compute_type="int8", intra_threads=threads())

    def states(self, ids: Ints, real: Bools) -> Floats:
        """See `genre.compressors.Runner`."""
        lengths = np.ascontiguousarray(real.sum(1), dtype=np.int32)
        given = self._of(np.ascontiguousarray(ids, dtype=np.int32)), self._of(lengths)
        return np.array(self._encoder.forward_batch(*given).last_hidden_state)

    def save(self, folder: Path) -> None:
        """CTranslate2's own files."""
        for path in self.folder.iterdir():
            if path.name != "runner.txt":
                shutil.copy(path, folder / path.name)
        _write(folder, self.hidden_size)

    @classmethod
    def load(cls, folder: Path) -> CTranslateRunner:
        """What `save` wrote."""
        return cls(folder, _read(folder))


class StaticRunner:
    """A vector for each token, whatever stands beside it: no layers at all."""

    runtime: ClassVar[str] = "static"

    def __init__(self, table: NDArray[np.floating[Any]]) -> None:
        self.table = table
        self.hidden_size = table.shape[1]

    def states(self, ids: Ints, real: Bools) -> Floats:
        """See `genre.compressors.Runner`."""
        return self.table[ids].astype(np.float32, copy=False)

    def save(self, folder: Path) -> None:
        """The table."""
        from safetensors.numpy import save_file

        save_file({"table": self.table}, folder / "table.safetensors")

    @classmethod
    def load(cls, folder: Path) -> StaticRunner:
        """What `save` wrote."""
        from safetensors.numpy import load_file

        return cls(load_file(folder / "table.safetensors")["table"])


RUNTIMES: dict[str, Any] = {one.runtime: one for one in (OnnxRunner, OpenVinoRunner, CTranslateRunner, StaticRunner)}


def _write(folder: Path, hidden_size: int) -> None:
    (folder / "runner.txt").write_text(str(hidden_size), encoding="utf-8")


def _read(folder: Path) -> int:
    try:
        return int((folder / "runner.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GenreError(f"{folder}: does not say how wide its states are; run 'genre compress' again") from error
