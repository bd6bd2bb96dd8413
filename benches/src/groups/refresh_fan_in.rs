//! One connection whose token the provider has refused, and everybody who says so at once: one request, one write, and
//! each gets the new token.

use std::hint::black_box;
use std::sync::Arc;

use tokio::sync::watch;
use vault_core::AccessToken;
use vault_core::store::{Bytes, ConnectionStore};

use super::Bench;
use crate::backend::memory;
use crate::group::{Case, Group, names};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::setup::{Setup, Size};

/// A connection is not refreshed twice within a millisecond, so they take turns.
const SIZE: Size = Size { rows: 256, token_bytes: Plan::USUAL_BYTES };

pub(super) fn run(bench: &mut Bench<'_>) {
    for &waiters in bench.plan.waiters {
        let setup = bench.runtime.block_on(memory::seed(SIZE));
        let place = format!("memory, {waiters} waiting");
        let case = Case::new("refresh_fan_in", &place);
        let bare = Woken { store: Arc::clone(&setup.stores.connections), setup: setup.clone(), waiters };
        let refused = Refused { setup, waiters };
        bench.measure(Group::latency(case, Arc::new(refused)).versus(names::BARE, Arc::new(bare)));
    }
}

struct Refused {
    setup: Setup,
    waiters: usize,
}

impl Operation for Refused {
    async fn run(&self, n: u64) {
        let Setup { vault, users, connector, provider, .. } = &self.setup;
        let before = provider.requests();
        let user = users[usize::try_from(n).unwrap_or_default() % users.len()].clone();
        let token = vault.user(user).token(connector).await.expect("a live token");
        let token: Arc<AccessToken> = Arc::new(token);
        let waiting: Vec<_> = (0..self.waiters)
            .map(|_| {
                let (vault, token) = (vault.clone(), Arc::clone(&token));
                tokio::spawn(async move { vault.report_rejected(&token).await })
            })
            .collect();
        for waiter in waiting {
            let renewed = waiter.await.expect("no panic").expect("a new token");
            assert_eq!(renewed.generation(), token.generation() + 1);
        }
        assert_eq!(provider.requests(), before + 1);
    }
}

/// Floor: as many tasks, of which each gets the record and waits for one message.
struct Woken {
    store: Arc<dyn ConnectionStore>,
    setup: Setup,
    waiters: usize,
}

impl Operation for Woken {
    async fn run(&self, _: u64) {
        let (sender, receiver) = watch::channel(None::<Bytes>);
        let waiting: Vec<_> = (0..self.waiters)
            .map(|_| {
                let (store, mut receiver) = (Arc::clone(&self.store), receiver.clone());
                let key = self.setup.record.key.clone();
                tokio::spawn(async move {
                    black_box(store.get(&key).await.expect("the store is up"));
                    let message = receiver.wait_for(Option::is_some).await.expect("there will be one");
                    black_box(message.clone());
                })
            })
            .collect();
        sender.send_replace(Some(self.setup.record.credential.clone()));
        for waiter in waiting {
            waiter.await.expect("no panic");
        }
    }
}
