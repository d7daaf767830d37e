# The shop, web and worker. From the project's folder: docker build -f deploy/docker/shop.Dockerfile .
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
COPY deploy/docker/shop.txt /requirements.txt
RUN uv venv /opt/venv && VIRTUAL_ENV=/opt/venv uv pip install --no-cache --require-hashes -r /requirements.txt

FROM python:3.14-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app
COPY --from=build /opt/venv /opt/venv
COPY deploy/docker/with-secrets /usr/local/bin/with-secrets
COPY target_app/alembic.ini target_app/gunicorn.conf.py /app/
COPY target_app/migrations /app/migrations
COPY target_app/shop /app/shop
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PORT=8000
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --retries=5 --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/ready', timeout=3)"]
ENTRYPOINT ["with-secrets"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "shop.wsgi:app"]
