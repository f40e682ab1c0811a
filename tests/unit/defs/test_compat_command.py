"""What is resolved when a framework is tried at another version."""

from dataclasses import replace

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from orchestrator_defs.compat_command import at_version, compat
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.profiles import installed_frameworks


def test_the_framework_is_pinned_and_what_stands_beside_it_is_free() -> None:
    requirements = ("agno[openai,aws]==3.1.10", "mcp==1.30.0", "tzdata>=2 ; sys_platform == 'win32'")
    profile = replace(PROFILE, distribution="Agno", requirements=requirements)
    assert [Requirement(one) for one in at_version(profile, "3.1.9")] == [
        Requirement(one) for one in ("agno[openai,aws]==3.1.9", "mcp", "tzdata ; sys_platform == 'win32'")
    ]


def test_every_installed_framework_names_its_distribution_in_its_requirements() -> None:
    of_python = [profile for profile in installed_frameworks().values() if profile.node_lock_file is None]
    for profile in of_python:
        pinned = [one for one in at_version(profile, "1.2.3") if one.endswith("==1.2.3")]
        assert len(pinned) == 1, profile.name
        assert len(at_version(profile, "1.2.3")) == len(profile.requirements)


def test_a_framework_that_npm_locks_is_refused_with_what_to_do() -> None:
    result = CliRunner().invoke(compat, ["n8n", "2.41.0"])
    assert result.exit_code == 2
    assert "n8n is locked by npm: change its version in package.json" in result.output


@given(
    st.lists(st.sampled_from(["agno", "mcp[cli]", "A.b_c", "x"]), unique=True),
    st.sampled_from(["", "==1", ">=1,<2", "~=1.4"]),
)
def test_only_the_specifier_of_a_requirement_changes(names: list[str], specifier: str) -> None:
    profile = replace(PROFILE, distribution="a-b-c", requirements=tuple(name + specifier for name in names))
    for before, after in zip(profile.requirements, at_version(profile, "7"), strict=True):
        one, other = Requirement(before), Requirement(after)
        assert (one.name, one.extras, one.marker) == (other.name, other.extras, other.marker)
        assert str(other.specifier) == ("==7" if one.name == "A.b_c" else "")
