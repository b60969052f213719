"""From a de-identified scan to whether its person would be found: one person at a time."""
