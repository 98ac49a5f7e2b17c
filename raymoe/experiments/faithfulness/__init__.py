"""Does masking what an attribution calls important hurt (paper §4.2, Fig. 3)? And ERASER's measures of it."""
