# The payment provider that can be told to fail. From the project's folder: docker build -f deploy/docker/mock_api.Dockerfile .
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
COPY deploy/docker/mock_api.txt /requirements.txt
RUN uv venv /opt/venv && VIRTUAL_ENV=/opt/venv uv pip install --no-cache --require-hashes -r /requirements.txt

FROM python:3.14-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app
COPY --from=build /opt/venv /opt/venv
COPY deploy/docker/with-secrets /usr/local/bin/with-secrets
COPY mock_api /app/mock_api
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=5001
WORKDIR /app
USER 10001:10001
EXPOSE 5001
HEALTHCHECK --interval=5s --timeout=5s --retries=5 --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=3)"]
ENTRYPOINT ["with-secrets"]
CMD ["python", "-m", "mock_api"]
