"""Who calls, and may they: keys, where they are kept and made, and signing in with OpenID Connect."""
