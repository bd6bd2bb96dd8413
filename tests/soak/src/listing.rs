//! X01: a listing of many connections, while others come, change and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use vault_benches::setup::{Setup, connect};
use vault_core::id::{Owner, TenantId, UserId};
use vault_core::store::Page;

use crate::{NOISE, bytes, heap};

const WRITERS: usize = 4;
const PAGE: u32 = 200;

pub(crate) const HEAD: &str = "X01       connections   pages  comings and goings  listed once  passing, listed  heap: a page  all pages  seconds";

/// What came of it.
#[derive(Debug)]
pub(crate) struct Listed {
    rows: usize,
    pages: usize,
    changes: usize,
    /// Of those that were there all along.
    once: usize,
    /// Listed of those that came or went meanwhile.
    passing: usize,
    /// The most that a page took, beyond what there was before it.
    peak: u64,
    /// By how much more there was after the last page than before the first.
    grown: u64,
    time: Duration,
}

impl Listed {
    pub(crate) fn line(&self, place: &str) -> String {
        format!(
            "{place:10}{:>11}{:>8}{:>20}{:>13}{:>17}{:>14}{:>11}{:>9.0}",
            self.rows,
            self.pages,
            self.changes,
            self.once,
            self.passing,
            bytes(self.peak),
            bytes(self.grown),
            self.time.as_secs_f64(),
        )
    }
}

/// Of a listing of a tenth, and one of all.
pub(crate) fn fault(place: &str, listed: &[Listed]) -> Option<String> {
    if let Some(lacking) = listed.iter().find(|listed| listed.once != listed.rows) {
        return Some(format!("{place}: not all were listed: {lacking:?}"));
    }
    let [few, many] = listed else { return None };
    // What refreshes add to the records is in this process too, where the store is.
    let kept = |listed: &Listed| if place == "memory" { 0 } else { listed.grown };
    let grows = many.peak > few.peak + NOISE || kept(many) > kept(few) + NOISE;
    grows.then(|| format!("{place}: memory grows with rows: {few:?}, {many:?}"))
}

pub(crate) async fn run(setup: &Setup) -> Listed {
    let began = Instant::now();
    let crowd = Arc::new(Crowd {
        setup: setup.clone(),
        stop: AtomicBool::new(false),
        changes: AtomicUsize::new(0),
        since: Semaphore::new(0),
    });
    let mut seen = vec![false; setup.users.len()];
    let writers: JoinSet<()> = (0..WRITERS).map(|writer| Arc::clone(&crowd).come_and_go(writer)).collect();
    crowd.a_change().await;

    let at_first = heap();
    let (mut pages, mut passing, mut peak) = (0, 0, 0);
    let mut page = Page::first(PAGE);
    loop {
        PeakAlloc.reset_peak_usage();
        let before = heap();
        let listed = setup.vault.tenant(TenantId::default()).connections(None, &page).await.expect("a page");
        peak = (PeakAlloc.peak_usage() as u64).saturating_sub(before).max(peak);
        pages += 1;
        assert!(listed.connections.len() <= PAGE as usize);
        for connection in &listed.connections {
            assert!(connection.is_readable());
            let Owner::User(user) = &connection.key().owner else { panic!("nobody's: {}", connection.key()) };
            match setup.users.binary_search(user) {
                Ok(n) => assert!(!std::mem::replace(&mut seen[n], true), "{user} is listed twice"),
                Err(_) => passing += 1,
            }
        }
        page.after = listed.next;
        if page.after.is_none() {
            break;
        }
        crowd.a_change().await;
    }
    let grown = heap().saturating_sub(at_first);
    crowd.stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    Listed {
        rows: seen.len(),
        pages,
        changes: crowd.changes.load(Ordering::Relaxed),
        once: seen.iter().filter(|seen| **seen).count(),
        passing,
        peak,
        grown,
        time: began.elapsed(),
    }
}

struct Crowd {
    setup: Setup,
    stop: AtomicBool,
    changes: AtomicUsize,
    /// Of the changes, those that the listing has not waited for.
    since: Semaphore,
}

impl Crowd {
    /// Between any two pages.
    async fn a_change(&self) {
        self.since.acquire().await.expect("it is open").forget();
    }

    /// One connects, one of those that stay is refreshed, one disconnects, over and over.
    async fn come_and_go(self: Arc<Self>, writer: usize) {
        let Setup { vault, connector, users, .. } = &self.setup;
        for n in 0.. {
            let passing = |n: usize| UserId::new(format!("passing-{writer}-{n}")).expect("a plain id");
            connect(vault, &passing(n), connector).await;
            let stays = &users[(writer + n * 7_919) % users.len()];
            vault.user(stays.clone()).token(connector).fresh().await.expect("a new token");
            if let Some(gone) = n.checked_sub(2) {
                vault.user(passing(gone)).disconnect(connector).await.expect("a disconnect");
            }
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.since.add_permits(1);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
