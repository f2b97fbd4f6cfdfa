"""The panes and lines that screens are made of, each told what to show.

They may import one another, state and the leaves of the backend.
"""
