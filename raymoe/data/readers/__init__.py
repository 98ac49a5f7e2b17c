"""Readers of tables, a file per format; none knows what the values should be.

Each reads a file from its start as often as it is asked, some rows at a time: pictures in a table never have
to be in memory together. ``raymoe.data.readers.sources`` says which reader a file, folder or pattern gets.
"""
