"""The embedded backbone `tiny`: a small CLIP trained on generated data, and how it was made."""
