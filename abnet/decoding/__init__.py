"""From a source sentence to its translation: Mask-Predict, beam search, and what they share.

`decode` takes a system's own way. A way needs of a model what `decodable` says and returns
`hypothesis.Hypothesis`. How one pass is decoded stands beside its losses, in `abnet/one_pass`.
"""
