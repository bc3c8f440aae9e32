"""The first minute with sagas: both examples at once on a small cluster, parts of which are killed (`make demo`)."""
