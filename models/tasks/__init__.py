"""One folder for each model: its network, data, training, evaluation and export, and the released weights."""
