//! Processes that do not agree what time it is.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use vault_core::clock::Timestamp;
use vault_testkit::simulator::TokenKind;
use vault_tests::chaos::protocol::{Command, Outcome, Read};
use vault_tests::chaos::{Arena, Kind, Sends, Tally, sized};

use super::PROGRAM;
use super::storms::{everywhere, strictest};

/// In milliseconds; one is right.
const AHEAD: [i64; 4] = [0, 600_000, -600_000, 300_000];

pub(super) async fn r12_clocks_ten_minutes_apart(kind: Kind) -> Tally {
    let arena = Arena::start(PROGRAM, kind, strictest()).await;
    let mut workers = Vec::new();
    for ahead in AHEAD {
        let worker = arena.worker_with(|setup| (setup.clock_ahead, setup.follow_store) = (ahead, true)).await;
        workers.push(Arc::new(worker));
    }
    let [right, fast, slow] = [&workers[0], &workers[1], &workers[2]];
    arena.connect(fast, "ada").await;

    // Nobody refreshes what another has just got, and every lease holds for all.
    let read = Read { use_at: Some(arena.calendar()), ..Read::of("ada") };
    let good = |generation| Outcome::Token { generation, status: Some(200), second: false };
    for answer in everywhere(&workers, &read).await {
        assert_eq!(answer.outcome, good(1));
    }
    for _ in 0..sized(2, 10) {
        everywhere(&workers, &Read { readers: 25, ..Read::fresh("ada") }).await;
    }
    let chain = arena.sends("ada");
    assert_eq!(chain, Sends::once_each(chain.sends));
    for worker in &workers {
        worker.tell(Command::Maintain).await;
        assert_eq!(worker.read(read.clone()).await, good(1 + chain.sends as u64));
    }
    assert_eq!(arena.sends("ada"), chain, "a token of an hour is not due, whoever asks");

    // The fast one takes a token of three seconds, and the slow one knows when it has ended.
    arena.provider.switch(|switches| switches.access_ttl = Duration::from_secs(3));
    fast.read(Read::fresh("ada")).await;
    until_ended(&arena, "ada").await;
    assert_eq!(slow.read(read.clone()).await, good(3 + chain.sends as u64), "another one");
    arena.provider.switch(|switches| switches.access_ttl = Duration::from_secs(3600));
    right.read(Read::fresh("ada")).await;
    let sends = arena.sends("ada");
    assert_eq!(sends, Sends::once_each(chain.sends + 3));
    let mut tally = Tally::default();
    tally.count(&sends);
    tally
}

/// Waits until the newest of the user's access tokens has ended, by the reckoning of whoever got it too: they count from
/// the moment when it arrived.
pub(crate) async fn until_ended(arena: &Arena, user: &str) {
    const ON_ITS_WAY: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + Duration::from_secs(30);
    let newest = || {
        let tokens = arena.provider.tokens_of(user).into_iter();
        let mut access = tokens.filter(|token| token.kind == TokenKind::Access);
        access.next_back().and_then(|token| token.expires_at).expect("an access token that ends")
    };
    while newest().saturating_add(ON_ITS_WAY) > Timestamp::from(SystemTime::now()) {
        assert!(Instant::now() < deadline, "it lives for three seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
