"""From prompts to tokens: what the engine thread does with the rows of a chat model."""
