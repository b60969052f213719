"""Contact sheets of people, for the site's own eyes, before anything is matched."""
