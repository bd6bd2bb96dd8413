//! What only PostgreSQL can do to a store.

mod faults;
mod finishing;
mod hunted;
mod reads;
mod schema;
pub(crate) mod support;
mod watch;

/// The contract where each transaction is serializable unless it says otherwise.
mod contract_in_serializable_transactions {
    use vault_core::Stores;
    use vault_tests::servers;

    async fn backend() -> Stores {
        Stores::from_backend(servers::postgres_with("-c default_transaction_isolation=serializable").await)
    }
    vault_testkit::conformance!(backend);
}
