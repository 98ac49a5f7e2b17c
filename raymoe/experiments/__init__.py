"""What the trained models are asked: the experiments of the paper, and ours. No Ray."""
