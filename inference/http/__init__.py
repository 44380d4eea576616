"""What clients send and get: requests are read, answers are told, in the formats of OpenAI and Anthropic."""
