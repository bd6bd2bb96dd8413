//! Where the servers are: `cargo xtask bench` and `cargo xtask test` say so in the environment.

use std::env;
use std::path::PathBuf;

/// What a run has to itself.
#[derive(Debug, Clone)]
pub struct Servers {
    pub postgres: String,
    pub redis: String,
    pub redis_cluster: Vec<String>,
    /// Only for a bench of its own: the same servers over their Unix sockets, and programs beside them.
    pub extra: Option<Extra>,
}

#[derive(Debug, Clone)]
pub struct Extra {
    pub postgres_socket: String,
    pub redis_socket: String,
    pub pgbench: PathBuf,
    pub peers: PathBuf,
    /// The process that started the servers.
    pub starter: u32,
}

impl Servers {
    /// # Panics
    /// When nobody started them.
    pub fn from_env() -> Self {
        let variable = |name: &str| {
            env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: run this as `cargo xtask test` or `cargo xtask bench` does")
            })
        };
        let extra = env::var_os("VAULT_BENCH_PEERS").map(|peers| Extra {
            postgres_socket: variable("VAULT_BENCH_POSTGRES_SOCKET"),
            redis_socket: variable("VAULT_BENCH_REDIS_SOCKET"),
            pgbench: variable("VAULT_BENCH_PGBENCH").into(),
            peers: peers.into(),
            starter: variable("VAULT_BENCH_STARTER").parse().expect("the number of a process"),
        });
        Self {
            postgres: variable("VAULT_TEST_POSTGRES"),
            redis: variable("VAULT_TEST_REDIS"),
            redis_cluster: variable("VAULT_TEST_REDIS_CLUSTER").split(',').map(str::to_owned).collect(),
            extra,
        }
    }
}
