"""OAuth clients: their credentials, how each proves itself, and what is known of their failures."""
