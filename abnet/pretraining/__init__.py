"""A BERT from plain text, by masked language modelling."""
