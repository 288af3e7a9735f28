"""Trainers and loggers: a module for each, which needs the package that it is named after.

None is imported by the library itself: ``from impsamp_fast.integrations.huggingface import ...``.
"""
