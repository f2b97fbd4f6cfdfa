"""What a person sees: the application with its screens, and the command line.

Of the backend it may import services and the leaves only; no two of its parts import each other.
"""
