"""Where a site's people come from: IDs, dates, sex, age and geometry; no pixel is read here."""
