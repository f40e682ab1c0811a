"""Values of the control plane: who there is, and who signs in."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from orchestrator_gateway.secret_sources import SecretSource
from orchestrator_tenancy.sign_in.settings import (
    ClaimRule,
    ProviderSettings,
    SessionSettings,
    ThrottleSettings,
)
from orchestrator_tools.chart.documented import ChartValues
from orchestrator_tools.chart.pod_values import Calls, ObjectName, SecretKey

HTTPS_AND_POSTGRESQL: Final = Calls(ports=(443, 5_432))


class SignIn(BaseModel):
    """What `sign-in.yaml` says, as docs/how-to/sign-in.md has it.

    Attributes:
        url: Where people find the platform, as their browsers show it; the provider sends them back to
            `URL/sign-in/callback`.
        secret: Where a secret of this platform stands; seals what is personal, what browsers keep, and the audit log.
        former_secrets: Where those before it stand, so that what they sealed can still be read.
        provider: Who knows the people.
        claims: What its claims make of them; `members` of tenants count besides.
        name: The claim with what people call somebody.
        sessions: How long a sign-in holds.
        throttle: How often people may try.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secret: SecretSource
    former_secrets: Sequence[SecretSource] = ()
    provider: ProviderSettings
    claims: Sequence[ClaimRule] = ()
    name: str = "name"
    sessions: SessionSettings = SessionSettings()
    throttle: ThrottleSettings = ThrottleSettings()


class Control(ChartValues):
    """The control plane: tenants, sign-ins, tokens, the audit log. With it, each tenant sees its own alone.

    Attributes:
        url_secret: Address of its database (`postgresql://user:password@host/name`), which is another one than that
            of runs: theirs is known to whatever a code location runs.
        sign_in: How people sign in, as docs/how-to/sign-in.md has it.
        environment_secrets: Secrets whose entries are the web server's environment: secrets that `signIn` names as
            `{env: NAME}`.
        gpus: Of all nodes that runs may use; null leaves GPUs to the tenants' quotas.
        calls: Where daemon and web server may call for it: its database, the OpenID provider.
    """

    url_secret: SecretKey
    sign_in: SignIn
    environment_secrets: Sequence[ObjectName] = ()
    gpus: Annotated[int, Field(ge=0)] | None = None
    calls: Sequence[Calls] = (HTTPS_AND_POSTGRESQL,)
