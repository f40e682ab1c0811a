"""Why somebody is not let in; the type says what to answer."""


class SignInRefused(Exception):
    """What came back from the provider lets nobody in; the text says why, and is shown to whoever tried."""


class ProviderUnavailable(Exception):
    """The provider does not answer, or says nothing that can be used; those who signed in before go on."""
