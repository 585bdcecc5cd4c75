"""Render notebooks headlessly; each runs only when something it depends on has changed."""

from .job import Failed, Job, plan
from .scheduler import render

__all__ = ["Failed", "Job", "plan", "render"]
