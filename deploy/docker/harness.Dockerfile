# The harness, its dashboard and MLflow. From the project's folder: docker build -f deploy/docker/harness.Dockerfile .
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM node:24-bookworm-slim AS assets
WORKDIR /src/harness/dashboard/assets
COPY harness/dashboard/assets/package.json harness/dashboard/assets/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY harness/dashboard /src/harness/dashboard
RUN npm run build

FROM python:3.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
COPY deploy/docker/harness.txt /requirements.txt
RUN uv venv /opt/venv && VIRTUAL_ENV=/opt/venv uv pip install --no-cache --require-hashes -r /requirements.txt

FROM python:3.14-slim-bookworm
# without a version: Debian removes one from its archive when the next mends it
# hadolint ignore=DL3008
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin app \
    && apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
COPY deploy/docker/with-secrets /usr/local/bin/with-secrets
WORKDIR /work
COPY harness harness
COPY --from=assets /src/harness/dashboard/static harness/dashboard/static
COPY scenarios scenarios
COPY kb kb
COPY target_app target_app
COPY mock_api mock_api
# a volume gets the owner of what it is mounted on: trials' folders, and what MLflow keeps of them
RUN mkdir results /mlflow && chown 10001:10001 results /mlflow
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/work PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 5000 5002
HEALTHCHECK NONE
ENTRYPOINT ["with-secrets", "python", "-m", "harness"]
CMD ["--help"]
