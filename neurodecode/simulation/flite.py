"""Text -> speech with exact times, by the synthesiser flite (Debian package libflite1) through ctypes.

In: one sentence. Out: samples at 16 kHz, and the phones and words with their start and end in seconds, which are the
synthesiser's own and not an alignment. Only the making of the embedded speech needs this; nothing else imports it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from neurodecode.simulation.speech import SpeechError

LIBRARIES = ("libflite.so.1", "libflite_usenglish.so.1", "libflite_cmulex.so.1")
SILENCE = "pau"  # flite's name of the silent phone


@dataclass(frozen=True)
class Spoken:
    """A spoken sentence.

    Attributes
    ----------
    audio
        int16 [samples].
    rate
        Samples a second.
    phones, words
        (start, end, label) in seconds from the first sample of `audio`; silences are left out.
    """

    audio: np.ndarray
    rate: int
    phones: list[tuple[float, float, str]]
    words: list[tuple[float, float, str]]


class _Wave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


class Flite:
    """The synthesiser with some of its voices.

    Parameters
    ----------
    voices
        Names among slt, rms, awb, kal16.

    Raises
    ------
    SpeechError
        If the library or a voice is not installed.
    """

    def __init__(self, voices: tuple[str, ...]) -> None:
        try:
            self._flite, *_ = [ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL) for name in LIBRARIES]
            plugins = {voice: ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1") for voice in voices}
        except OSError as error:
            raise SpeechError(f"flite: {error}; install it with: apt-get install libflite1") from None
        self._libc = ctypes.CDLL(None)
        for function, result, arguments in (
            ("flite_synth_text", ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_void_p]),
            ("utt_relation", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
            ("relation_head", ctypes.c_void_p, [ctypes.c_void_p]),
            ("item_next", ctypes.c_void_p, [ctypes.c_void_p]),
            ("item_feat_float", ctypes.c_float, [ctypes.c_void_p, ctypes.c_char_p]),
            ("ffeature_string", ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_char_p]),
            ("path_to_item", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
            ("utt_wave", ctypes.POINTER(_Wave), [ctypes.c_void_p]),
            ("delete_utterance", None, [ctypes.c_void_p]),
        ):
            handle = getattr(self._flite, function)
            handle.restype, handle.argtypes = result, arguments
        self._flite.flite_init()
        self._voices = {}
        for voice, plugin in plugins.items():
            register = getattr(plugin, f"register_cmu_us_{voice}")
            register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
            self._voices[voice] = register(None)

    def speak(self, text: str, voice: str, seed: int) -> Spoken:
        """Speak one sentence; the same text, voice and seed give the same samples.

        The voices draw their excitation from the C library's random numbers, hence the seed.
        """
        f = self._flite
        self._libc.srand(ctypes.c_uint(seed))
        utterance = f.flite_synth_text(text.encode("ascii"), self._voices[voice])
        if not utterance:
            raise SpeechError(f"flite: no speech came back for {text!r}")
        wave = f.utt_wave(utterance).contents
        audio = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).copy()
        phones: list[tuple[float, float, str]] = []
        words: list[tuple[float, float, str]] = []
        item = f.relation_head(f.utt_relation(utterance, b"Segment"))
        start, word_before = 0.0, None
        while item:
            end = float(f.item_feat_float(item, b"end"))
            phone = f.ffeature_string(item, b"name").decode()
            if phone != SILENCE:
                phones.append((start, end, phone))
                # flite splits owner's into owner and 's; the token is the word as it was written
                word = f.path_to_item(item, b"R:SylStructure.parent.parent.R:Token.parent")
                label = f.ffeature_string(item, b"R:SylStructure.parent.parent.R:Token.parent.name").decode()
                if word != word_before:
                    words.append((start, end, label.lower()))
                else:
                    words[-1] = (words[-1][0], end, words[-1][2])
                word_before = word
            start, item = end, f.item_next(item)
        rate = int(wave.sample_rate)
        f.delete_utterance(utterance)
        return Spoken(audio, rate, phones, words)
