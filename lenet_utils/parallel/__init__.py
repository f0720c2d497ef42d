"""Training that several processes share and that goes on after a kill, and what more machines bring on paper."""
