"""How results are shown to people: labels, colours, tables, samples as data and as pictures."""
