"""neurodecode: from raw sEEG, MEG or EEG recordings to an honest answer to "which speech segment was this?".

The folders are the order in which data moves: recordings -> channels -> preprocessing -> store -> stimuli ->
segments -> models -> objectives -> training -> evaluation -> reports. ``import neurodecode`` is free: nothing
heavy (torch, mne) is imported until a room is entered.
"""

__version__ = "0.1.0"
