FROM python:3.14-slim-bookworm
COPY valkey-server valkey-cli /usr/local/bin/
RUN useradd --uid 999 --no-create-home valkey
USER valkey
WORKDIR /tmp
CMD ["valkey-server"]
