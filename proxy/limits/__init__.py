"""How much a key, a person, a team or an address may use, and how much of it is left."""
