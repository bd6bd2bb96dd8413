//! The vault's side of every comparison.

use std::hint::black_box;
use std::sync::Arc;

use crate::operation::{Operation, pick};
use crate::setup::Setup;

/// `vault.user(..).token(..)` of anybody.
pub struct TokenRead(pub Arc<Setup>);

impl Operation for TokenRead {
    async fn run(&self, n: u64) {
        let Setup { vault, users, connector, .. } = &*self.0;
        let token = vault.user(users[pick(n, users.len())].clone()).token(connector).await;
        black_box(token.expect("a live token").expose_secret());
    }
}
