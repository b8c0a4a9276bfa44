"""Scores of translations and other texts: BLEU, chrF, TER, ROUGE and SARI."""
