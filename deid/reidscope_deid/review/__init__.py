"""For the people who answer for an output: a page to read, a signature, images to look at."""
