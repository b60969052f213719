"""Where a site's people come from: IDs, dates and geometry alone; no pixel is read here."""
