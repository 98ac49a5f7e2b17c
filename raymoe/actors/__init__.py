"""Ray: a connection, and a pull pool of actors that survives their deaths. Knows of no stage."""
