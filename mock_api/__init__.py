"""The shop's payment upstream, unreliable on purpose: ``python -m mock_api``.

| route | does |
|---|---|
| ``POST /charge`` | charges ``{"order_id", "amount_cents"}``, once for each ``Idempotency-Key`` |
| ``GET /quote`` | answers ``{"ok": true}``: the cheapest call that can fail |
| ``GET /charges`` | admin: every charge ever made, in order |
| ``GET``, ``PUT /admin/mode`` | admin: the faults, as ``{"mode": "latency,error"}`` |
| ``GET /health`` | answers ``{"status": "ok"}``, whatever the mode |

Only ``/charge`` and ``/quote`` suffer the faults. Settings come from the environment, see `settings.Settings`.
"""
