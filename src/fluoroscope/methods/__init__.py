"""The mathematics, on traces and tensors: returns tensors, draws nothing."""
