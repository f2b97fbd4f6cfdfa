"""Pure view logic: the values that are shown, their words, and where they lie on the screen.

It may import the leaves of the backend, never services, messages, loading or Textual.
"""
