"""`syncws doctor`: what it finds in this process, in broken deployments, and that it finds nothing in good ones."""
