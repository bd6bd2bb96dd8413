//! Where the servers are: `cargo xtask bench` and `cargo xtask test` say so in the environment.

use std::env;
use std::path::PathBuf;

/// What a run has to itself.
#[derive(Debug, Clone)]
pub struct Servers {
    pub postgres: String,
    pub postgres_socket: String,
    pub redis: String,
    pub redis_socket: String,
    pub redis_cluster: Vec<String>,
    pub pgbench: PathBuf,
    pub peers: PathBuf,
    /// The process that started the servers.
    pub starter: u32,
}

impl Servers {
    /// # Panics
    /// When nobody started them.
    pub fn from_env() -> Self {
        Self {
            postgres: variable("VAULT_TEST_POSTGRES"),
            postgres_socket: variable("VAULT_BENCH_POSTGRES_SOCKET"),
            redis: variable("VAULT_TEST_REDIS"),
            redis_socket: variable("VAULT_BENCH_REDIS_SOCKET"),
            redis_cluster: variable("VAULT_TEST_REDIS_CLUSTER").split(',').map(str::to_owned).collect(),
            pgbench: variable("VAULT_BENCH_PGBENCH").into(),
            peers: variable("VAULT_BENCH_PEERS").into(),
            starter: variable("VAULT_BENCH_STARTER").parse().expect("the number of a process"),
        }
    }
}

/// The program of `benches/peers`; `None` for a look at a group by `cargo bench`, which builds none.
pub fn peers() -> Option<PathBuf> {
    env::var_os("VAULT_BENCH_PEERS").map(PathBuf::from)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run this as `cargo xtask test` or `cargo xtask bench` does")
    })
}
