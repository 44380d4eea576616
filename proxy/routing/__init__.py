"""From a model's name to the endpoint that a request is sent to, and to the next one when that fails."""
