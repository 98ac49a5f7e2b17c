"""How work runs, whatever it is: devices, progress, ordered pools, seeds. Knows no stage."""
