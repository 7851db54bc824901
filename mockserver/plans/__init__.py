"""Everything that is drawn for a request before anything is sent."""
