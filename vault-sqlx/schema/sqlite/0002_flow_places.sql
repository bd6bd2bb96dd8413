-- Each pending flow has a place among its owner's, which keeps their number under the cap. Flows live for minutes: those
-- that are pending now are given up.

DROP TABLE vault_flows;

CREATE TABLE vault_flows (
    state_hash BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    owner_kind INTEGER NOT NULL,
    owner_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    connector TEXT NOT NULL,
    slot TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (tenant, owner_kind, owner_id, place)
) STRICT;

CREATE INDEX vault_flows_expired ON vault_flows (expires_at);

INSERT INTO vault_schema (version, applied_at) VALUES (2, unixepoch() * 1000);
