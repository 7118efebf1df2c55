"""The configuration of a run: gin files and flags in; a checked table, and its text for others, out.

files.py finds gin files, parse.py reads them, check.py judges the result before anything is built, text.py
writes it and hands it to gin, diff.py compares two. No other package imports gin, and nothing here knows what
a parameter means.
"""
