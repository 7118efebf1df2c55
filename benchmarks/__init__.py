"""Speed, measured side by side with peers. Not installed, not imported by anything."""
