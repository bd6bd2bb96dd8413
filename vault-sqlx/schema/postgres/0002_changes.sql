-- Tells who listens which connections' credentials have changed or gone, by the hexadecimal digits of their id, or nothing
-- when all are gone. The triggers are off: transactions that notify commit one after another, in the whole cluster, and
-- nobody may be listening. The first listener turns them on (or `ALTER TABLE vault_connections ENABLE ALWAYS TRIGGER ...`).

CREATE FUNCTION vault_connections_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- The name of a channel is at most 63 bytes long.
    hash text := left(encode(sha256(convert_to(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'UTF8')), 'hex'), 40);
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('connections_' || hash, '');
    ELSE
        PERFORM pg_notify('connections_' || hash, encode(OLD.id, 'hex'));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER vault_connections_changed AFTER UPDATE OF credential ON vault_connections
FOR EACH ROW WHEN (OLD.credential IS DISTINCT FROM NEW.credential)
EXECUTE FUNCTION vault_connections_changed();

CREATE TRIGGER vault_connections_gone AFTER DELETE ON vault_connections
FOR EACH ROW EXECUTE FUNCTION vault_connections_changed();

CREATE TRIGGER vault_connections_emptied AFTER TRUNCATE ON vault_connections
FOR EACH STATEMENT EXECUTE FUNCTION vault_connections_changed();

ALTER TABLE vault_connections DISABLE TRIGGER vault_connections_changed;
ALTER TABLE vault_connections DISABLE TRIGGER vault_connections_gone;
ALTER TABLE vault_connections DISABLE TRIGGER vault_connections_emptied;

INSERT INTO vault_schema (version, applied_at)
VALUES (2, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint));
