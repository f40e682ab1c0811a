"""What a managed location may not hold."""


class NotManaged(ValueError):
    """A folder has what a managed location does not take; the text says where it stands and what to change."""
