"""The operators and whole training steps on a GPU, checked and timed."""
