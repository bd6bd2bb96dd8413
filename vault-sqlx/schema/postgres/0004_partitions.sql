-- As before, but for partitions too: who listens knows the table, and a trigger runs for the partition that a row is in.

CREATE OR REPLACE FUNCTION vault_connections_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    listened text := (
        SELECT nspname || '.' || relname
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = coalesce(pg_partition_root(TG_RELID), TG_RELID)
    );
    -- The name of a channel is at most 63 bytes long.
    hash text := left(encode(sha256(convert_to(listened, 'UTF8')), 'hex'), 40);
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('connections_' || hash, '');
    ELSE
        PERFORM pg_notify('connections_' || hash, encode(OLD.id, 'hex'));
    END IF;
    RETURN NULL;
END
$$;

INSERT INTO vault_schema (version, applied_at)
VALUES (4, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint));
