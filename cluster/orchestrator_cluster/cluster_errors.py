"""What goes wrong between this program and a cluster."""


class ClusterAway(Exception):
    """The API server does not answer, or refuses; the message is what it says."""
