"""PlanRefreshFunction: sends a message for each work unit that is due, every minute."""
