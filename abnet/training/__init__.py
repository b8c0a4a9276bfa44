"""From a batch of sentence pairs to a loss: objectives, masks, and what models teach each other."""
