"""OpenAI's Responses without a memory: read as a chat request, and answered from a chat completion."""
