//! Processes that do not agree what time it is.

use std::sync::Arc;
use std::time::Duration;

use vault_tests::chaos::protocol::{Command, Outcome, Read};
use vault_tests::chaos::{Arena, Kind, Sends, Tally, sized};

use super::PROGRAM;
use super::storms::{everywhere, strictest, used};

const MINUTE: Duration = Duration::from_secs(60);
/// In milliseconds; the first is right.
const AHEAD: [i64; 4] = [0, 600_000, -300_000, 300_000];

pub(super) async fn r12_clocks_ten_minutes_apart(kind: Kind) -> Tally {
    let arena = Arena::start(PROGRAM, kind, strictest()).await;
    let mut workers = Vec::new();
    for ahead in AHEAD {
        workers.push(Arc::new(arena.worker_with(|setup| setup.clock_ahead = ahead).await));
    }
    arena.connect(&workers[0], "ada").await;

    // Nobody refreshes what another has just refreshed, and every lease holds for all.
    let read = Read { use_at: Some(arena.calendar()), ..Read::of("ada") };
    for answer in everywhere(&workers, &read).await {
        assert_eq!(answer.outcome, Outcome::Token { generation: 1, status: Some(200), second: false });
    }
    for _ in 0..sized(2, 10) {
        everywhere(&workers, &Read { readers: 25, ..Read::fresh("ada") }).await;
    }
    let chain = arena.sends("ada");
    assert_eq!(chain, Sends::once_each(chain.sends));

    // Three hours of reading every five minutes, with tokens of one hour.
    for _ in 0..36 {
        arena.pass_time(&workers, 5 * MINUTE).await;
        for worker in &workers {
            worker.tell(Command::Maintain).await;
        }
        for worker in &workers {
            let outcome = worker.read(read.clone()).await;
            let good = matches!(outcome, Outcome::Token { status: Some(200), second: false, .. });
            assert!(good, "a token that has ended: {outcome:?}");
        }
    }
    let sends = arena.sends("ada");
    assert_eq!(sends, Sends::once_each(sends.sends));
    assert!(sends.sends < chain.sends + 8, "{} refreshes in three hours", sends.sends - chain.sends);
    used(&arena, &workers[0], "ada").await;

    // A token that a process with a fast clock took, for whoever is behind: the provider's refusal puts that right.
    workers[1].read(Read::fresh("ada")).await;
    arena.pass_time(&workers, 65 * MINUTE).await;
    let outcome = workers[2].read(read).await;
    assert!(matches!(outcome, Outcome::Token { status: Some(200), .. }), "{outcome:?}");
    let sends = arena.sends("ada");
    assert_eq!(sends, Sends::once_each(sends.sends));
    let mut tally = Tally::default();
    tally.count(&sends);
    tally
}
