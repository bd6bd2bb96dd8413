-- The vault's tables. Times are Unix milliseconds. What is sealed, the database cannot read, nor compress: it is stored
-- as it comes. Identifiers compare byte for byte, whatever the database's collation.

CREATE TABLE vault_schema (
    version bigint PRIMARY KEY,
    applied_at bigint NOT NULL
);

CREATE TABLE vault_connectors (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
);

-- `id` is the digest of tenant, owner, connector and slot.
CREATE TABLE vault_connections (
    id bytea PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    owner_kind bigint NOT NULL, -- 0 shared, 1 user
    owner_id text COLLATE "C" NOT NULL, -- empty when shared
    connector text COLLATE "C" NOT NULL,
    slot text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    incarnation bytea NOT NULL,
    generation bigint NOT NULL,
    status bigint NOT NULL, -- 0 active, else a reason to reauthorize
    due_at bigint,
    expires_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    lease_holder bytea,
    lease_fence bigint NOT NULL DEFAULT 0,
    lease_until bigint,
    refresh bytea NOT NULL,
    summary bytea NOT NULL,
    credential bytea NOT NULL
);

ALTER TABLE vault_connections ALTER COLUMN summary SET STORAGE EXTERNAL;
ALTER TABLE vault_connections ALTER COLUMN credential SET STORAGE EXTERNAL;

-- Listings run in the order of `id`, whatever they are narrowed to.
CREATE INDEX vault_connections_by_tenant ON vault_connections (tenant, id);
CREATE INDEX vault_connections_by_owner ON vault_connections (tenant, owner_kind, owner_id, id);
CREATE INDEX vault_connections_by_connector ON vault_connections (tenant, connector, id);
CREATE INDEX vault_connections_due ON vault_connections (due_at) WHERE status = 0 AND due_at IS NOT NULL;

CREATE TABLE vault_owed (
    id bytea PRIMARY KEY,
    connection bytea NOT NULL, -- vault_connections.id, as it was
    tenant text COLLATE "C" NOT NULL,
    owner_kind bigint NOT NULL,
    owner_id text COLLATE "C" NOT NULL,
    connector text COLLATE "C" NOT NULL,
    slot text COLLATE "C" NOT NULL,
    incarnation bytea NOT NULL,
    version bigint NOT NULL,
    due_at bigint NOT NULL,
    attempts bigint NOT NULL,
    created_at bigint NOT NULL,
    sealed bytea NOT NULL
);

CREATE INDEX vault_owed_by_tenant ON vault_owed (tenant, id);
CREATE INDEX vault_owed_by_owner ON vault_owed (tenant, owner_kind, owner_id, id);
CREATE INDEX vault_owed_due ON vault_owed (due_at);

-- Each pending flow has a place among its owner's, which keeps their number under the cap.
CREATE TABLE vault_flows (
    state_hash bytea PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    owner_kind bigint NOT NULL,
    owner_id text COLLATE "C" NOT NULL,
    place bigint NOT NULL,
    connector text COLLATE "C" NOT NULL,
    slot text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    sealed bytea NOT NULL,
    UNIQUE (tenant, owner_kind, owner_id, place)
);

CREATE INDEX vault_flows_expired ON vault_flows (expires_at);

CREATE TABLE vault_keys (
    kind bigint NOT NULL, -- 0 the vault's own, 1 a tenant's, 2 a user's
    tenant text COLLATE "C" NOT NULL, -- empty for the vault's own
    user_id text COLLATE "C" NOT NULL, -- empty but for a user's
    version bigint NOT NULL,
    wrapped bytea NOT NULL,
    PRIMARY KEY (kind, tenant, user_id)
);

INSERT INTO vault_schema (version, applied_at)
VALUES (1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint));
