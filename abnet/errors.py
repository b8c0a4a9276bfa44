"""The error that says what a user can do about it."""


class AbNetError(ValueError):
    """Something the user gave cannot be used; the message says what was expected and what to do."""
