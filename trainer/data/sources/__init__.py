"""Data sources: one file each for what data comes as."""
