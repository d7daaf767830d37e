"""Local servers that stand in for models, for demos and tests: no key, no cost, no network.

The real SDKs talk to them. Each is told what to answer, or how to misbehave: ``gemini.running([gemini.quota(),
gemini.answer(fix)])``, or ``python -m harness.fixing.standins gemini --answer quota``. They bind 127.0.0.1 only.
"""
