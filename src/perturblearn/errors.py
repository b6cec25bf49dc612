"""Errors that a user can cause. Each message says in one sentence what is wrong and what to do."""


class PerturbLearnError(ValueError):
    """Input cannot be used. The message names the value, what was expected and what to do."""


class ConfigError(PerturbLearnError):
    """A configuration key is unknown, has the wrong type, or has a value out of range."""


class DataError(PerturbLearnError):
    """The data cannot be found, read, or used for this experiment."""


class DivergenceError(PerturbLearnError):
    """Training produced infinite or NaN values. The message says at which epoch and learning rate."""


class StoreError(PerturbLearnError):
    """Results cannot be written to or read from the given folder."""


class ModelError(PerturbLearnError):
    """A custom network or attack cannot be used, or violates what is required of it."""
