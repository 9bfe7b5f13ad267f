"""The modules of the Mechanistic Interpretability Toolkit under their own names, each a thin skin over this package.

Code written against `model_loader`, `logit_lens`, `visualization`, `activation_extraction` and `intervention` imports
them from here; `fluoroscope.interpretable` has mlxterp's. Where an original computes something else than its
documentation says, these do what it says.
"""
