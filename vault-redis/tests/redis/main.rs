//! What `RedisStore` refuses and what it leaves behind, on real servers. `cargo xtask test` starts them and says in the
//! environment where they are. The storage contract is in the workspace's `tests`, beside the other backends.

mod data;
mod reads;
mod settings;
mod support;
mod watch;
