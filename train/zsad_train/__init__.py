"""CLIP towers, prompt learners and the training loop (needs the `train` extra)."""
