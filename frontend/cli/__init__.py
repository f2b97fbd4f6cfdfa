"""The command line: one file a group of commands.

They may import services, the leaves of the backend and state, never Textual.
"""
