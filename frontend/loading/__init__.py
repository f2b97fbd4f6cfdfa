"""What asks the services, off the event loop: loaders for the screens, and what stands between threads and messages.

These modules import services, state and messages, never a widget, a screen or the application.
"""
