"""HTTP/1.1 to the endpoints, over connections of our own."""
