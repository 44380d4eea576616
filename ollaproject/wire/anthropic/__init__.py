"""Anthropic's Messages: read as a chat request, and answered from a chat completion, whole or streamed."""
