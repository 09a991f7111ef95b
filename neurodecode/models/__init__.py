"""Networks: plain torch modules that speak the braindecode contract (n_chans, n_times, n_outputs, sfreq, chs_info).

Import from the modules: `models.build.build_model`, `models.aligner.Aligner`.
"""
