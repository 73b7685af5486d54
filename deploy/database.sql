-- The user and the database of Countersign, made by a superuser, once:
--
--   psql --set ON_ERROR_STOP=1 --set password_file=/run/secrets/database-password --file database.sql
--
-- The tables are made by the service, which is why its user owns the database. It needs nothing beyond that: no right to
-- make databases or users, no extension, nothing of other schemas.

\if :{?password_file}
\else
  \set password_file /run/secrets/database-password
\endif
\set password `head -n 1 :'password_file'`

CREATE ROLE countersign LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE countersign OWNER countersign ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE countersign FROM PUBLIC;

-- What became of a machine that went away is noticed within half a minute, not after two hours: its sessions count.
ALTER ROLE countersign IN DATABASE countersign SET tcp_keepalives_idle = 10;
ALTER ROLE countersign IN DATABASE countersign SET tcp_keepalives_interval = 5;
ALTER ROLE countersign IN DATABASE countersign SET tcp_keepalives_count = 3;
