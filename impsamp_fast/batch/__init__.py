"""From a raw batch to the mini-batch to train on."""
