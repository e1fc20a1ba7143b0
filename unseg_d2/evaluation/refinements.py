"""The refinements of soft masks that tables of saliency and CorLoc compare."""

from __future__ import annotations

REFINEMENTS = {"none": "", "guided": "GF", "bilateral": "BS", "crf": "CRF"}
"""Name on the command line to what the table calls it."""
