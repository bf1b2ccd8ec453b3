#!/bin/sh
# Logins for what runs against this database, each with the rights of its work alone: worker/db/roles.sql. The image
# runs it once, when it fills an empty volume.
set -eu

secret() {
    cat "${SECRETS:-/run/secrets}/$1"
}

psql --set ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file "${ROLES_SQL:-/roles.sql}"
# The passwords are variables of psql's, on its stdin: a command line can be read by everybody.
psql --set ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\set worker '$(secret postgres_worker_password)'
\set console '$(secret postgres_console_password)'
\set reader '$(secret postgres_reader_password)'
CREATE ROLE threadsync_worker LOGIN PASSWORD :'worker' IN ROLE threadsync_run;
CREATE ROLE threadsync_web LOGIN PASSWORD :'console' IN ROLE threadsync_console;
CREATE ROLE threadsync_reader LOGIN PASSWORD :'reader' IN ROLE threadsync_read;
SQL
