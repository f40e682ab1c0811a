"""The chart with `tls` on a cluster: a run of a team succeeds, and nobody is heard in the clear.

The PostgreSQL of the wheel is built without TLS; here something before it says what PostgreSQL says of TLS, so that the
addresses, authorities and certificates of the chart are the real ones, and the server's own TLS is not.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.certificates import Authority
from tests.e2e.charts import POSTGRESQL, RELEASE, ChartPlatform
from tests.e2e.images import platform_images
from tests.e2e.kubectl import Namespace
from tests.e2e.namespaces import restricted_namespace
from tests.e2e.platforms import PROGRAMS
from tests.e2e.pods import container, pod

pytestmark = pytest.mark.timeout(1_800)

BEFORE_POSTGRESQL: Final = """
import asyncio, os, ssl, subprocess, sys
told = dict(word.split("=", 1) for word in sys.argv[4:] if "=" in word)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(told["ssl_cert_file"], told["ssl_key_file"])
port = int(os.environ["PGPORT"])
server = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2], "postgres", "-c", "listen_addresses="])
async def carry(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
async def serve(reader, writer):
    if await reader.readexactly(8) != bytes.fromhex("0000000804d2162f"):
        writer.close()  # who does not ask for TLS
        return
    writer.write(b"S")
    await writer.start_tls(context)
    try:
        far_reader, far = await asyncio.open_unix_connection(f"/var/run/postgresql/.s.PGSQL.{port}")
    except OSError:
        writer.close()  # it is still to start
        return
    await asyncio.gather(carry(reader, far), carry(far_reader, writer), return_exceptions=True)
async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", port):
        raise SystemExit(await asyncio.to_thread(server.wait))
asyncio.run(main())
"""

ASK: Final = """
import http.client, ssl, sys
context = ssl.create_default_context(cafile="/etc/orchestrator-ca/ca.crt")
asked = http.client.HTTPSConnection("localhost", 3000, timeout=50, context=context)
asked.request("POST", "/graphql", sys.stdin.buffer.read(), {"content-type": "application/json"})
print(asked.getresponse().read().decode())
"""

LOOK: Final = """
import socket, ssl, sys
def heard(host, port, words):
    with socket.create_connection((host, port), timeout=10) as opened:
        opened.sendall(words)
        try:
            return opened.recv(1)[:1] not in (b"", b"\\x15", b"E")  # an end, an alert of TLS, an error of PostgreSQL
        except ConnectionError:
            return False
HTTP = b"GET /ready HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n"
GRPC = b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes(3) + b"\\x04" + bytes(5)
START = b"user\\0a\\0\\0"
START = (len(START) + 8).to_bytes(4, "big") + (196_608).to_bytes(4, "big") + START
for address in sys.argv[1:]:
    kind, host, port = address.split(",")
    if kind == "tls":
        context = ssl.create_default_context(cafile="/etc/authorities/ca.crt")
        with socket.create_connection((host, int(port)), timeout=10) as opened:
            told = context.wrap_socket(opened, server_hostname=host).version()
    else:
        told = heard(host, int(port), {"http": HTTP, "grpc": GRPC, "postgresql": START}[kind])
    print(kind, host.split(".")[0], told, flush=True)
"""


def certificate(name: str, authority: Authority, *names: str) -> dict[str, Any]:
    """Return a Secret with a certificate, as cert-manager makes it."""
    issued = authority.issue(*names, file=name)
    files = {"tls.crt": issued.certificate, "tls.key": issued.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {entry: base64.b64encode(file.read_bytes()).decode() for entry, file in files.items()},
    }


class EncryptedPlatform(ChartPlatform):
    """What the chart installs with `tls`.

    Args:
        namespace: Of the release; empty.
        team: Namespace of the team.
        images: By what they are.
        authority: Who signs.
    """

    def __init__(
        self, namespace: Namespace, team: Namespace, images: Mapping[str, str], authority: Authority
    ) -> None:
        """Install it."""
        self.authority = authority
        super().__init__(namespace, team, images)

    def values(self) -> dict[str, Any]:
        """Return the values of the first installation."""
        values = super().values()
        values["tls"] = {"ca": self.authority.pem}
        values["postgresql"]["own"]["command"] = ["python3", "-c", BEFORE_POSTGRESQL, POSTGRESQL, PROGRAMS]
        return values

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the web server over TLS, from inside of its own pod."""
        text = json.dumps({"query": query, "variables": variables})
        words = ("exec", "--stdin", self.web, "--", "python", "-c", ASK)
        told = json.loads(self.namespace.ask(*words, text=text))
        assert "errors" not in told, told
        answer: dict[str, Any] = told["data"]
        return answer

    def _deploy(self) -> None:
        own, team = self.namespace.name, self.team.name
        self.namespace.create(
            certificate("gateway-tls", self.authority, f"{RELEASE}-gateway.{own}.svc"),
            certificate("web-server-tls", self.authority, f"{RELEASE}-web.{own}.svc", "localhost"),
            certificate("postgresql-tls", self.authority, f"{RELEASE}-postgresql.{own}.svc"),
        )
        self.team.create(certificate("code-servers-tls", self.authority, f"{RELEASE}-code-trials.{team}.svc"))
        super()._deploy()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptedPlatform]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with restricted_namespace() as namespace, restricted_namespace() as team:
        yield EncryptedPlatform(namespace, team, platform_images(), authority)


def test_an_agent_runs_and_its_guests_call_by_the_relay(platform: EncryptedPlatform) -> None:
    run_id = platform.launch("trials", "run_quick")
    platform.ends(run_id, "SUCCESS")
    assert platform.calls("quick") == [1, 2]
    (made,) = platform.pods(run_id)
    relay, *guests = made["spec"]["initContainers"]
    assert relay["name"] == "gateway-relay" and guests
    assert f"--gateway=https://{RELEASE}-gateway.{platform.namespace.name}.svc:8900" in relay["command"]


def looks(
    platform: EncryptedPlatform, where: Namespace, image: str, labels: dict[str, str], *addresses: str
) -> str:
    """Return what a pod with labels finds at addresses: `KIND,HOST,PORT`."""
    where.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "authorities"},
            "data": {"ca.crt": platform.authority.pem},
        }
    )
    mount = {"name": "authorities", "mountPath": "/etc/authorities"}
    main = container("main", image, LOOK, *addresses, volumeMounts=[mount])
    volume = {"name": "authorities", "configMap": {"name": "authorities"}}
    where.create(pod("looks", main, labels=labels, volumes=[volume]))
    return where.finish("looks")


def test_a_team_hears_gateway_and_database_by_tls_alone(platform: EncryptedPlatform, image: str) -> None:
    gateway = f"{RELEASE}-gateway.{platform.namespace.name}.svc,8900"
    database = f"{RELEASE}-postgresql.{platform.namespace.name}.svc,5432"
    found = looks(
        platform,
        platform.team,
        image,
        {"role": "looks"},
        f"http,{gateway}",
        f"postgresql,{database}",
        f"tls,{gateway}",
    )
    assert found.splitlines() == [
        f"http {RELEASE}-gateway False",
        f"postgresql {RELEASE}-postgresql False",
        f"tls {RELEASE}-gateway TLSv1.3",
    ]


def test_web_server_and_code_server_are_heard_by_tls_alone(platform: EncryptedPlatform) -> None:
    """From inside of the web server's pod, which may call both."""
    code = f"{RELEASE}-code-trials.{platform.team.name}.svc,4000"
    script = LOOK.replace("/etc/authorities/", "/etc/orchestrator-ca/")
    words = ["exec", platform.web, "--", "python", "-c", script, "http,localhost,3000", f"grpc,{code}"]
    found = platform.namespace.ask(*words, "tls,localhost,3000", f"tls,{code}")
    assert found.splitlines() == [
        "http localhost False",
        f"grpc {RELEASE}-code-trials False",
        "tls localhost TLSv1.3",
        f"tls {RELEASE}-code-trials TLSv1.3",
    ]


def test_a_renewed_certificate_needs_no_restart(platform: EncryptedPlatform) -> None:
    """The kubelet replaces the file within a minute or two."""
    name = f"{RELEASE}-gateway.{platform.namespace.name}.svc"
    before = platform.namespace.get("deployment", f"{RELEASE}-gateway")["metadata"]["generation"]
    fresh = certificate("gateway-tls", platform.authority, name)
    platform.namespace.ask("replace", "--filename=-", text=json.dumps(fresh))
    said = "another certificate is shown from now on"
    pods = f"deployment/{RELEASE}-gateway"
    platform.until(lambda: said in platform.namespace.logs(pods), 300, "a gateway shows it")
    assert platform.namespace.get("deployment", f"{RELEASE}-gateway")["metadata"]["generation"] == before
    platform.ends(platform.launch("trials", "run_quick"), "SUCCESS")
