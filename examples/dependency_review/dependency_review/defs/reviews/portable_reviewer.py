"""The portable reviewer: the same words, run by each framework."""

import dagster as dg

from orchestrator_assets import PortableSpec, ToolSpec


@dg.template_var
def portable_reviewer() -> PortableSpec:
    """Return the reviewer, for `portable: "{{ portable_reviewer }}"`."""
    return PortableSpec(
        instructions="You review Python distributions. Call read_licence with the distribution's name, then answer.",
        model_name="smollm2",
        temperature=0,
        tools=[ToolSpec(function="facts:read_licence")],
        output_schema={
            "type": "object",
            "properties": {
                "licence": {"type": "string", "maxLength": 40},
                "risk": {"enum": ["low", "medium", "high"]},
                "summary": {"type": "string", "maxLength": 120},
            },
            "required": ["licence", "risk", "summary"],
            "additionalProperties": False,
        },
    )
