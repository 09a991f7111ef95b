"""Lightning around models and objectives: order, optimiser, checkpoints, resume. Nothing scientific lives only here.

Import from the modules: `training.fit.fit` makes a run, `training.load.load_fold` opens one (and needs no Lightning).
"""
