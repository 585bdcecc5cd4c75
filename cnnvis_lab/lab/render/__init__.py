"""Render notebooks headlessly; each runs only when something it depends on has changed."""

from .job import Failed, Job, plan
from .reasons import explain
from .scheduler import render

__all__ = ["Failed", "Job", "explain", "plan", "render"]
