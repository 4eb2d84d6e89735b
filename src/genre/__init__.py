"""GENRE: recommendations from fine-tuned language models. `docs/architecture.md` shows the whole."""
