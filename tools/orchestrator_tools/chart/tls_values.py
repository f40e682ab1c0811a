"""Values of TLS between the pods of the platform."""

from typing import Annotated

from pydantic import Field

from orchestrator_tools.chart.documented import ChartValues
from orchestrator_tools.chart.pod_values import ObjectName

Pem = Annotated[str, Field(pattern=r"-----BEGIN CERTIFICATE-----")]


class TlsSecrets(ChartValues):
    """Secrets of the type `kubernetes.io/tls`, as cert-manager or an operator makes them; NOTES name what each is for.

    Attributes:
        gateway: Of the gateway, beside the release.
        web_server: Of the web server, beside the release.
        marketplace: Of the reference marketplace, beside the release; not read where there is none.
        postgresql: Of the chart's own database, beside the release; not read where there is another one.
        code_servers: Of a tenant's code servers, in the namespace of each tenant.
    """

    gateway: ObjectName = "gateway-tls"
    web_server: ObjectName = "web-server-tls"
    marketplace: ObjectName = "marketplace-tls"
    postgresql: ObjectName = "postgresql-tls"
    code_servers: ObjectName = "code-servers-tls"


class Tls(ChartValues):
    """TLS between the pods of the platform, each verified by its name; nothing falls back to plain connections.

    Attributes:
        ca: Certificates of the authorities that signed those of the Secrets and of the database, PEM; they are no
            secret. Another one starts all pods anew.
        secrets: Certificates, with their keys.
    """

    ca: Pem
    secrets: TlsSecrets = TlsSecrets()
