"""Classification beside baselines: one question, many methods, the same windows for all."""
