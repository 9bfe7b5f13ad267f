"""The modules of the Mechanistic Interpretability Toolkit under their own names, each a thin skin over this package.

Code written against `model_loader`, `logit_lens`, `visualization`, `activation_extraction` and `intervention` imports
them from here; `causal` and `workflows` have the functions of mlxterp's modules of these names. Where an original
computes something else than its documentation says, these do what it says.
"""
