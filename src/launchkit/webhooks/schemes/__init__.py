"""How senders sign webhooks, and how to tell."""
