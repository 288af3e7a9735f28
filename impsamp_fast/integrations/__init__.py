"""The trainers that people use: a module for each, which needs the package that it is named after.

None is imported by the library itself: ``from impsamp_fast.integrations.huggingface import ...``.
"""
