"""The evaluation of aligner runs: the decoder beside baseline, controls and other seeds."""
