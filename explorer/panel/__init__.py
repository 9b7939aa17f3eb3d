"""The details of what is selected: facts, histograms and heat maps, for every surface."""
