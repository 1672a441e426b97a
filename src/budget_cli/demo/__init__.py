"""``budget demo``: a research agent, let loose and held in."""
