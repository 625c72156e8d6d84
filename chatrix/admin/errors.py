"""What can go wrong for an admin in ways that one line explains."""


class AdminError(Exception):
    """An expected failure; its text is the whole message, without a traceback."""


class NotRunning(AdminError):
    """No server answers on the control socket."""
