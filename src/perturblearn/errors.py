"""The errors that a user can cause, each with one sentence that says what to do."""


class PerturbLearnError(ValueError):
    """Something the user gave cannot be used; the message names the value, what was expected and what to do."""


class ConfigError(PerturbLearnError):
    """A key of the configuration is unknown, has the wrong type or a value out of range."""


class DataError(PerturbLearnError):
    """The data cannot be found, read or used for the experiment that was asked for."""


class DivergenceError(PerturbLearnError):
    """Training left the finite numbers; the message says at which epoch and learning rate."""


class StoreError(PerturbLearnError):
    """Results cannot be written to or read from the place that was named."""


class ModelError(PerturbLearnError):
    """A network or an attack of the user's cannot be used, or does not do what is asked of it."""
