"""What components learned, on disk: arrays and sparse matrices as safetensors, never pickled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy import sparse

from genre.errors import RunError
from genre.files import replacing
from genre.mapping import map_tensors
from genre.types import State

SPARSE = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}


def save_state(path: Path, state: State) -> None:
    """Write ``state``, all or nothing. A sparse matrix is kept in compressed rows or columns, whichever it has.

    Raises `TypeError` for a value that is neither an array of numbers nor a sparse matrix.
    """
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    shapes: dict[str, tuple[str, list[int]]] = {}
    for name, value in state.items():
        if sparse.issparse(value):
            matrix = value if value.format in SPARSE else value.tocsr()
            shapes[name] = (matrix.format, list(matrix.shape))
            parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
            arrays |= {f"{name}/{part}": np.ascontiguousarray(array) for part, array in parts.items()}
        elif isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
            # ascontiguousarray would turn a scalar into a vector.
            arrays[name] = np.array(value, order="C")
        else:
            raise TypeError(f"state '{name}' is {type(value).__name__}; states hold arrays of numbers, sparse matrices")
    with replacing(path) as aside:
        save_file(arrays, aside, metadata={"sparse": json.dumps(shapes)})


def load_state(path: Path) -> State:
    """The state that `save_state` wrote, mapped into memory. Raises `RunError` where the file cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            shapes = json.loads((file.metadata() or {}).get("sparse", "{}"))
        arrays = map_tensors(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read ({error}); run 'genre rank' again") from error
    state: State = {name: array for name, array in arrays.items() if "/" not in name}
    for name, (layout, shape) in shapes.items():
        parts = tuple(arrays[f"{name}/{part}"] for part in ("data", "indices", "indptr"))
        state[name] = SPARSE[layout](parts, shape=tuple(shape))
    return state
