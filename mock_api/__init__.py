"""The shop's payment upstream, unreliable on purpose: ``python -m mock_api``.

| route | does |
|---|---|
| ``POST /token`` | gives an access token for ``client_id`` and ``client_secret``, a form as OAuth 2.0 has it |
| ``POST /charge`` | charges ``{"order_id", "amount_cents"}``, once for each ``Idempotency-Key``; needs a token |
| ``GET /quote`` | answers ``{"ok": true}``: the cheapest call that can fail |
| ``GET /charges`` | admin: every charge ever made, in order |
| ``GET /requests`` | admin: how often each path was asked for, and how often each ``Idempotency-Key`` came |
| ``GET``, ``PUT /admin/mode`` | admin: the faults, as ``{"mode": "latency,error"}`` |
| ``GET /health`` | answers ``{"status": "ok"}``, whatever the mode |

Only ``/charge`` and ``/quote`` suffer the faults, and what befalls a request is decided before its token is looked at.
Settings come from the environment, see `settings.Settings`.
"""
