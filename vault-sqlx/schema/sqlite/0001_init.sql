-- The vault's tables. Times are Unix milliseconds. What is sealed, the database cannot read.
--
-- Rows are kept by rowid, not WITHOUT ROWID: they carry kilobytes of sealed bytes, which would fill the inner nodes of a
-- tree keyed by a random digest. Long columns stand last, the longest at the end, so that reading the others does not
-- walk through their overflow pages.

CREATE TABLE vault_schema (
    version INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE vault_connectors (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
) STRICT;

-- `id` is the digest of tenant, owner, connector and slot.
CREATE TABLE vault_connections (
    id BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    owner_kind INTEGER NOT NULL, -- 0 shared, 1 user
    owner_id TEXT NOT NULL, -- empty when shared
    connector TEXT NOT NULL,
    slot TEXT NOT NULL,
    version INTEGER NOT NULL,
    incarnation BLOB NOT NULL,
    generation INTEGER NOT NULL,
    status INTEGER NOT NULL, -- 0 active, else a reason to reauthorize
    due_at INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    lease_holder BLOB,
    lease_fence INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    refresh BLOB NOT NULL,
    summary BLOB NOT NULL,
    credential BLOB NOT NULL
) STRICT;

-- Listings run in the order of `id`, whatever they are narrowed to.
CREATE INDEX vault_connections_by_tenant ON vault_connections (tenant, id);
CREATE INDEX vault_connections_by_owner ON vault_connections (tenant, owner_kind, owner_id, id);
CREATE INDEX vault_connections_by_connector ON vault_connections (tenant, connector, id);
CREATE INDEX vault_connections_due ON vault_connections (due_at) WHERE status = 0 AND due_at IS NOT NULL;

CREATE TABLE vault_owed (
    id BLOB NOT NULL PRIMARY KEY,
    connection BLOB NOT NULL, -- vault_connections.id, as it was
    tenant TEXT NOT NULL,
    owner_kind INTEGER NOT NULL,
    owner_id TEXT NOT NULL,
    connector TEXT NOT NULL,
    slot TEXT NOT NULL,
    incarnation BLOB NOT NULL,
    version INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE INDEX vault_owed_by_tenant ON vault_owed (tenant, id);
CREATE INDEX vault_owed_by_owner ON vault_owed (tenant, owner_kind, owner_id, id);
CREATE INDEX vault_owed_due ON vault_owed (due_at);

CREATE TABLE vault_flows (
    state_hash BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    owner_kind INTEGER NOT NULL,
    owner_id TEXT NOT NULL,
    connector TEXT NOT NULL,
    slot TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE INDEX vault_flows_by_owner ON vault_flows (tenant, owner_kind, owner_id, expires_at);
CREATE INDEX vault_flows_expired ON vault_flows (expires_at);

CREATE TABLE vault_keys (
    kind INTEGER NOT NULL, -- 0 the vault's own, 1 a tenant's, 2 a user's
    tenant TEXT NOT NULL, -- empty for the vault's own
    user_id TEXT NOT NULL, -- empty but for a user's
    version INTEGER NOT NULL,
    wrapped BLOB NOT NULL,
    PRIMARY KEY (kind, tenant, user_id)
) STRICT;

INSERT INTO vault_schema (version, applied_at) VALUES (1, unixepoch() * 1000);
