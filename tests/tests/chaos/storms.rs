//! Everybody wants the token at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use vault_testkit::simulator::{Endpoint, Rotation, TokenState};
use vault_tests::chaos::protocol::{Answer, Command, Outcome, Read};
use vault_tests::chaos::{Arena, Kind, Options, Sends, Tally, Worker, sized};

use super::PROGRAM;

/// No lease lapses, however slow the machine: whoever sends twice did it without need. And if somebody does, the grant dies.
pub(crate) fn strictest() -> Options {
    Options {
        rotation: Rotation::Family,
        settle: Some(1),
        lease_ttl: Duration::from_secs(60),
        http_timeout: Duration::from_secs(25),
    }
}

/// The same read in all processes at once; all answers.
pub(crate) async fn everywhere(workers: &[Arc<Worker>], read: &Read) -> Vec<Answer> {
    let mut reading = JoinSet::new();
    for worker in workers {
        let (worker, read) = (Arc::clone(worker), read.clone());
        reading.spawn(async move { worker.ask(Command::Read(read)).await.expect("nobody kills it") });
    }
    reading.join_all().await.into_iter().flatten().collect()
}

/// Longer than the provider's access tokens live.
const LATER: Duration = Duration::from_secs(2 * 60 * 60);

pub(super) async fn r02_eight_processes_send_once_per_generation(kind: Kind) -> Tally {
    let (users, rounds) = sized((2, 2), (10, 10));
    let arena = Arena::start(PROGRAM, kind, strictest()).await;
    let workers = arena.workers(8).await;
    let mut tally = Tally::default();

    // Each user's token has ended, and 400 readers find that out together.
    let users: Vec<String> = (0..users).map(|n| format!("due {n}")).collect();
    for (n, user) in users.iter().enumerate() {
        arena.connect(&workers[n % 8], user).await;
    }
    arena.pass_time(&workers, LATER).await;
    for user in &users {
        let read = Read { readers: 50, ..Read::of(user) };
        for answer in everywhere(&workers, &read).await {
            assert_eq!(
                answer.outcome,
                Outcome::Token { generation: 2, status: None, second: false },
                "{user}"
            );
        }
        assert_eq!(arena.sends(user), Sends::once_each(1), "{user}");
        used(&arena, &workers[0], user).await;
        tally.count(&arena.sends(user));
    }

    // 400 readers who want a new one, several times over: many generations.
    arena.connect(&workers[0], "chain").await;
    let mut newest = 1;
    for _ in 0..rounds {
        let read = Read { readers: 50, ..Read::fresh("chain") };
        for answer in everywhere(&workers, &read).await {
            let Outcome::Token { generation, .. } = answer.outcome else { panic!("{answer:?}") };
            newest = newest.max(generation);
        }
    }
    let sends = arena.sends("chain");
    assert_eq!(sends, Sends::once_each(sends.sends));
    assert_eq!(newest, 1 + sends.sends as u64, "every token set was stored");
    used(&arena, &workers[0], "chain").await;
    let stored = arena.stored_token(&workers[0], "chain").await.expect("a refresh token");
    assert_eq!((stored.state, stored.generation as usize), (TokenState::Live, sends.sends));
    tally.count(&sends);
    tally
}

/// The token is good.
async fn used(arena: &Arena, worker: &Worker, user: &str) {
    let outcome = worker.read(Read { use_at: Some(arena.calendar()), ..Read::of(user) }).await;
    assert!(
        matches!(outcome, Outcome::Token { status: Some(200), second: false, .. }),
        "{user}: {outcome:?}"
    );
}

pub(super) async fn r02_a_thousand_readers_in_each_of_four_processes_cause_one_request(kind: Kind) -> Tally {
    /// For 4000 readers on a busy machine.
    const SLACK: Duration = Duration::from_secs(10);
    let arena = Arena::start(PROGRAM, kind, strictest()).await;
    let workers = arena.workers(4).await;
    arena.connect(&workers[0], "ada").await;
    arena.pass_time(&workers, LATER).await;

    // The first reader has half a second, each of the others 10 ms more, and the provider is slow: some hear in time.
    let (wait, patience) = (Duration::from_millis(500), Duration::from_millis(10));
    let read = Read { readers: 1000, wait, patience, ..Read::of("ada") };
    let gate = arena.provider.hold_next_reply(Endpoint::Token);
    let before = arena.provider.count(Endpoint::Token);
    let reading = tokio::spawn({
        let (workers, read) = (workers.clone(), read.clone());
        async move { everywhere(&workers, &read).await }
    });
    gate.arrived().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    gate.release();
    let answers = reading.await.expect("no panic");

    assert_eq!(answers.len(), 4000);
    let (mut served, mut late) = (0, 0);
    for (n, answer) in answers.iter().enumerate() {
        let deadline = wait + patience * (n as u32 % 1000);
        assert!(answer.after < deadline + SLACK, "reader {n} waited {:?}, not {deadline:?}", answer.after);
        match &answer.outcome {
            Outcome::Token { generation: 2, .. } => served += 1,
            Outcome::Failed { kind, .. } if kind == "RefreshInProgress" => late += 1,
            other => panic!("reader {n}: {other:?}"),
        }
    }
    assert!(served > 0 && late > 0, "{served} had a token, {late} heard that it was not there yet");
    assert_eq!(arena.provider.count(Endpoint::Token), before + 1, "one request");
    used(&arena, &workers[3], "ada").await;
    let mut tally = Tally::default();
    tally.count(&arena.sends("ada"));
    tally
}
