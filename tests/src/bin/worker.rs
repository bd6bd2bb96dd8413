//! A process with a vault, for the tests of many processes: see `vault_tests::chaos`.

#[tokio::main(flavor = "current_thread")]
async fn main() {
    vault_tests::chaos::run().await;
}
