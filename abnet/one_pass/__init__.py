"""One pass of the decoder over more frames than words: CTC, and a directed acyclic graph of words.

`frames` is what both read; each has its losses and its decoding here.
"""
