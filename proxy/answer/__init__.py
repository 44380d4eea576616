"""What a client gets: headers, the bytes that are passed on, and what is seen of them on the way."""
