"""Input by index: which example goes where (order), and how it gets there (sources, pipeline)."""
