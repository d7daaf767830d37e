"""Incidents for people on call: in Slack, and as pages of PagerDuty."""
