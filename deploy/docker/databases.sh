#!/bin/sh
# Run once by the image of PostgreSQL: a database and a user each for the shop, the harness and MLflow. The harness may
# make databases and users, since each trial's app gets its own.
set -eu
for name in shop harness mlflow; do
    psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
        -v name="$name" -v password="$(cat "/run/secrets/${name}_password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname harness <<'SQL'
ALTER ROLE harness CREATEDB CREATEROLE;
CREATE EXTENSION IF NOT EXISTS vector;
SQL
