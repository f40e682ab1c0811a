"""Images are built without Docker and given to the test cluster without a registry."""

import os
from pathlib import Path

from orchestrator_tools.cluster.images import BASE_IMAGE, build_image
from orchestrator_tools.cluster.lifecycle import import_image
from orchestrator_tools.cluster.places import places
from tests.e2e.kubectl import Namespace
from tests.e2e.pods import container, pod

NAME = "localhost/greeting:1"


def test_an_image_of_a_dockerfile_runs(namespace: Namespace, tmp_path: Path) -> None:
    archive = build_image(
        Path(__file__).parent / "image",
        NAME,
        tmp_path / "greeting.tar",
        places().cache,
        arguments={"BASE": BASE_IMAGE},
        network=Path(os.environ["E2E_MACHINE_NETWORK"]),
    )
    import_image(places(), archive)
    main = container("main", NAME, "")
    del main["command"]
    namespace.create(pod("greeting", main))
    assert namespace.finish("greeting") == "BUILT WITHOUT DOCKER\n"
