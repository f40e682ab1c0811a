"""Whose agents review: n8n's too where the environment asks for it, since it takes minutes to install."""

import os

WITH_N8N = os.environ.get("DEPENDENCY_REVIEW_N8N", "") == "1"
FRAMEWORKS = ("agentscope", "agno", "crewai", "langgraph", "lightagent", *(["n8n"] if WITH_N8N else []))
