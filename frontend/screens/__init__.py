"""What fills the terminal: a screen composes widgets, asks through `loading` and takes the answers as messages.

It may import these, state and `shell`, never the application nor `routes`, which opens the screens.
"""
