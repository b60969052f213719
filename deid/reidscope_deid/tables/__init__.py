"""Tables that travel with images: how exposed their people are, and generalising to a target.

    CSV -> reading -> Column codes -> classes -> reidentification, diversity, closeness, uniqueness
                                   -> ladders -> search -> generalising -> CSV, rechecked

A table plan (`plan`) says which column is what. Figures are exact and stay at the site.
"""
