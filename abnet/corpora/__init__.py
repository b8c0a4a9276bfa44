"""Parallel corpora: one file a corpus says where it comes from and how it becomes text pairs.

`iwslt14`, `wmt14`, `wmt16_ro_en`, `multi30k`, `text` and `jsonl` each build a `corpus.Corpus`;
`preparing.prepare` turns one into clean raw text, pieces and binarized data.
"""
