"""One pass over a band of rows: what is read, and how it is added up."""
