"""Webhook intake: verified, de-duplicated, stored, answered; then handled until it succeeds."""
