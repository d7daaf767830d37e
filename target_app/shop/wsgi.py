"""What gunicorn serves: `shop.wsgi:app`."""

from __future__ import annotations

from shop import create_app, logs
from shop.settings import Settings

_settings = Settings.from_env()
logs.configure(_settings.log_level)
app = create_app(_settings)
