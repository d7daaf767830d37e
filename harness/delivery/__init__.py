"""A fix delivered by a commit: what may go out, the commit, the pipeline, and the record of it all."""
