"""The errors a user may cause. Each message is one line: file or setting, value found, value allowed, next move."""


class NeurodecodeError(Exception):
    """Bad input or settings: the command line prints the one-line message and exits with 2."""


class SettingsError(NeurodecodeError):
    """A settings file or an override holds an unknown key or a value that is not allowed."""


class RecordingError(NeurodecodeError):
    """A recording cannot be read, or reading it would be a guess."""


class StoreError(NeurodecodeError):
    """A store or one of its files is missing, damaged, or written by another schema."""


class StimulusError(NeurodecodeError):
    """A stimulus cannot be read, or cannot become the feature that is asked for."""


class LeakageError(NeurodecodeError):
    """The same stimulus content would stand on two sides of a split."""


class DownloadError(NeurodecodeError):
    """A host does not give what a card names, or gives something else."""
