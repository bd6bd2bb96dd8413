-- Credentials of which two fit on a page lie in their rows, and not in the TOAST table, where each would take another index
-- and more rows to read: reading them is what most statements are for. Credentials that are there move when they are next
-- written. Whoever partitions the table says the same of partitions to come.

DO $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN
        SELECT oid FROM pg_class WHERE oid = 'vault_connections'::regclass AND relkind = 'r'
        UNION SELECT relid FROM pg_partition_tree('vault_connections') JOIN pg_class ON oid = relid WHERE relkind = 'r'
    LOOP
        EXECUTE format('ALTER TABLE %s SET (toast_tuple_target = 4080)', leaf);
    END LOOP;
END
$$;

INSERT INTO vault_schema (version, applied_at)
VALUES (3, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint));
