//! The vault's storage in Redis.
