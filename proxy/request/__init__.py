"""What is read of a request, and what is changed in it, before it goes on."""
