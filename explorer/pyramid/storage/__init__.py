"""Where statistics last: a store per model, the journal of a build, the list of both."""
