"""How each endpoint is: asked by checks, seen by requests, decided by rules."""
