"""Training data that a model wrote: distillation and back-translation."""
