"""What asks the services, off the event loop: loaders, and what stands between their threads and the screens.

It may import services, messages and state, never a widget, a screen or the application.
"""
