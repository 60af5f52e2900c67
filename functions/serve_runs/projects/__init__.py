"""Projects: the caller's own, and what is known of one."""
