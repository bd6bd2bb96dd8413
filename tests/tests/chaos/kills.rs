//! Processes that die at every step, and those who come after them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use vault_testkit::simulator::{ClientAuth, Endpoint, Rotation, TokenInfo, TokenState};
use vault_tests::chaos::protocol::{Command, Outcome, Read, Side, Signal};
use vault_tests::chaos::{Arena, Kind, Options, Tally, Worker, sized, steps};

use super::PROGRAM;

/// Processes that are about to die, at once.
const AT_ONCE: usize = 6;
pub(super) const LOST: &str = "NeedsReauthorization { reason: LostRotation }";

type Point = (&'static str, Side);

/// Both sides of every step. The short form takes all of them on SQLite, and on a server those around the request.
fn points(kind: Kind, steps: &[&'static str]) -> Vec<Point> {
    let all = steps.iter().flat_map(|step| [(*step, Side::Before), (*step, Side::After)]);
    let telling =
        [("refresh:lease", Side::After), ("refresh:send", Side::After), ("refresh:persist", Side::After)];
    let every = kind == Kind::Sqlite || sized(false, true);
    all.filter(|point| every || telling.contains(point)).collect()
}

/// Runs `scenario` for every point, a few at a time, each with a user and a victim of its own.
async fn at_every_point<F>(arena: Arena, points: Vec<Point>, scenario: fn(Arc<Stage>, Point) -> F) -> Tally
where
    F: Future<Output = Tally> + Send + 'static,
{
    let stage = Arc::new(Stage { successor: arena.worker().await, arena });
    let (room, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for point in points {
        let (stage, room) = (Arc::clone(&stage), Arc::clone(&room));
        running.spawn(async move {
            let _place = room.acquire().await.expect("open");
            scenario(stage, point).await
        });
    }
    let mut tally = Tally::default();
    while let Some(done) = running.join_next().await {
        tally += done.expect("the scenario holds");
    }
    tally
}

struct Stage {
    arena: Arena,
    /// Who goes on after the dead.
    successor: Worker,
}

impl Stage {
    /// A new process on which the user has connected, and that will die.
    async fn victim(&self, user: &str, (step, side): Point) -> Worker {
        let victim = self.arena.worker().await;
        self.arena.connect(&victim, user).await;
        victim.arm(step, side, Signal::Kill).await;
        victim
    }
}

/// The order is the victim's last.
async fn dies_of(command: Command, victim: &Worker, user: &str) {
    let answer = victim.ask(command).await;
    assert!(answer.is_err() && victim.was_struck(), "{user}: the process lives: {answer:?}");
}

fn name((step, side): Point) -> String {
    format!("{step}:{side}")
}

/// What the provider made of a refresh whose new token nobody stored.
fn loses(point: Point) -> bool {
    matches!(point, ("refresh:send", Side::After) | ("refresh:persist", Side::Before))
}

pub(super) async fn s14_killed_at_every_step_of_a_refresh(kind: Kind) -> Tally {
    let arena = Arena::start(PROGRAM, kind, Options::default()).await;
    at_every_point(arena, points(kind, steps::REFRESH), refresh_killed).await
}

async fn refresh_killed(stage: Arc<Stage>, point: Point) -> Tally {
    let (arena, successor, user) = (&stage.arena, &stage.successor, &name(point));
    let victim = stage.victim(user, point).await;
    dies_of(Command::Read(Read::fresh(user)), &victim, user).await;

    let outcome = arena.settled(successor, &Read::fresh(user)).await;
    let sends = arena.sends(user);
    let mut tally = Tally { kills: 1, ..Tally::default() };
    tally.count(&sends);
    assert_eq!(sends.rivals, 1, "{user}: never two requests at once");
    if loses(point) {
        assert_lost(&outcome, successor, user);
        assert_eq!(sends.most, 2, "{user}: one retry of the token whose fate was unknown");
        arena.connect(successor, user).await;
        tally.losses = 1;
    } else {
        assert!(matches!(outcome, Outcome::Token { .. }), "{user}: {outcome:?}");
        assert_eq!(sends.most, 1, "{user}: no token was sent twice");
    }
    works(arena, successor, user).await;
    tally
}

pub(super) async fn s14_killed_at_every_step_of_a_refusal(kind: Kind) -> Tally {
    let arena = Arena::start(PROGRAM, kind, Options::default()).await;
    at_every_point(arena, points(kind, steps::REFUSED), refusal_killed).await
}

/// The user took the grant back at the provider, and the process that learns of it dies.
async fn refusal_killed(stage: Arc<Stage>, point: Point) -> Tally {
    let (arena, successor, user) = (&stage.arena, &stage.successor, &name(point));
    let victim = stage.victim(user, point).await;
    arena.provider.revoke_grant(user);
    dies_of(Command::Read(Read::fresh(user)), &victim, user).await;

    let outcome = arena.settled(successor, &Read::fresh(user)).await;
    let marked = matches!(&outcome, Outcome::Failed { kind, .. } if kind.starts_with("NeedsReauthorization"));
    assert!(marked, "{user}: {outcome:?}");
    let mut tally = Tally { kills: 1, ..Tally::default() };
    tally.count(&arena.sends(user));
    arena.connect(successor, user).await;
    works(arena, successor, user).await;
    tally
}

/// The state says so, and so does an event.
pub(super) fn assert_lost(outcome: &Outcome, worker: &Worker, user: &str) {
    assert!(matches!(outcome, Outcome::Failed { kind, .. } if kind == LOST), "{user}: {outcome:?}");
    assert!(!worker.events(&["NeedsReauthorization", "LostRotation", user]).is_empty(), "{user}: an event");
}

/// The connection is whole: its tokens are good, it refreshes, and what is stored is what the provider gave last.
pub(super) async fn works(arena: &Arena, worker: &Worker, user: &str) {
    let read = Read { use_at: Some(arena.calendar()), ..Read::fresh(user) };
    let outcome = arena.settled(worker, &read).await;
    assert!(
        matches!(outcome, Outcome::Token { status: Some(200), second: false, .. }),
        "{user}: {outcome:?}"
    );
    let stored = arena.stored_token(worker, user).await.expect("a refresh token is revoked");
    assert_eq!(stored.state, TokenState::Live, "{user}: {stored:?}");
    let gone = worker.read(Read::of(user)).await;
    assert!(matches!(&gone, Outcome::Failed { kind, .. } if kind == "NotConnected"), "{user}: {gone:?}");
}

pub(super) async fn s14_killed_at_every_step_of_a_connect(kind: Kind) -> Tally {
    let arena = Arena::start(PROGRAM, kind, Options::default()).await;
    at_every_point(arena, points(kind, steps::CONNECT), connect_killed).await
}

/// A callback that was cut off leaves a whole connection or none, and the user can always connect again.
async fn connect_killed(stage: Arc<Stage>, point: Point) -> Tally {
    let (arena, successor, user) = (&stage.arena, &stage.successor, &name(point));
    let victim = arena.worker().await;
    victim.arm(point.0, point.1, Signal::Kill).await;
    match victim.ask(Command::Start { user: user.clone() }).await {
        Ok(started) => {
            let Outcome::Url(url) = &started[0].outcome else { panic!("{user}: {started:?}") };
            let query = arena.visit(url, user).await;
            dies_of(Command::Complete { query: query.clone() }, &victim, user).await;
            // The browser's reload finds another process.
            let again = successor.tell(Command::Complete { query }).await;
            let finished = matches!(again, Outcome::Done(_));
            assert_eq!(finished, point == ("connect:take", Side::Before), "{user}: {again:?}");
        }
        Err(_) => assert!(victim.was_struck(), "{user}"),
    }
    let read = Read { use_at: Some(arena.calendar()), ..Read::of(user) };
    match arena.settled(successor, &read).await {
        Outcome::Token { status: Some(200), second: false, .. } => {}
        Outcome::Failed { kind, .. } if kind == "NotConnected" => {
            assert!(point != ("connect:write", Side::After), "the connection was stored");
            arena.connect(successor, user).await;
        }
        other => panic!("{user}: {other:?}"),
    }
    works(arena, successor, user).await;
    Tally { kills: 1, ..Tally::default() }
}

pub(super) async fn s14_killed_at_every_step_of_a_disconnect(kind: Kind) -> Tally {
    let arena = Arena::start(PROGRAM, kind, Options::default()).await;
    at_every_point(arena, points(kind, steps::DISCONNECT), disconnect_killed).await
}

/// Cut off before the one write that counts, the connection is whole; after it, gone, and the provider hears of it.
async fn disconnect_killed(stage: Arc<Stage>, point: Point) -> Tally {
    let (arena, successor, user) = (&stage.arena, &stage.successor, &name(point));
    let victim = stage.victim(user, point).await;
    dies_of(Command::Disconnect { user: user.clone() }, &victim, user).await;

    let before = matches!(point, ("disconnect:cancel", _) | ("disconnect:delete", Side::Before));
    let outcome = arena.settled(successor, &Read::of(user)).await;
    match outcome {
        Outcome::Token { .. } if before => works(arena, successor, user).await,
        Outcome::Failed { kind, .. } if !before && kind == "NotConnected" => {}
        other => panic!("{user}: {other:?}"),
    }
    // The dead process had claimed the revocation for a minute.
    let live = || arena.provider.tokens_of(user).into_iter().filter(|token| token.state == TokenState::Live);
    for _ in 0..20 {
        successor.tell(Command::Skip { span: Duration::from_secs(61) }).await;
        successor.tell(Command::Maintain).await;
        if live().next().is_none() {
            break;
        }
    }
    let left: Vec<TokenInfo> = live().collect();
    assert!(left.is_empty(), "{user}: still good at the provider: {left:?}");
    assert!(arena.provider.count(Endpoint::Revoke) > 0);
    Tally { kills: 1, ..Tally::default() }
}

pub(super) async fn s14_killed_at_every_step_of_a_rotation(kind: Kind) -> Tally {
    let mut tally = Tally::default();
    for point in points(Kind::Sqlite, steps::ROTATE) {
        let arena = Arena::start(PROGRAM, kind, Options::default()).await;
        let next = "the client secret that comes next";
        let (successor, user) = (arena.worker().await, name(point));
        let victim = arena.worker().await;
        arena.connect(&victim, &user).await;
        victim.arm(point.0, point.1, Signal::Kill).await;
        dies_of(Command::RotateSecret { next: next.to_owned() }, &victim, &user).await;

        let outcome = arena.settled(&successor, &Read::fresh(&user)).await;
        assert!(matches!(outcome, Outcome::Token { .. }), "by the secret in use: {outcome:?}");
        let again = successor.tell(Command::RotateSecret { next: next.to_owned() }).await;
        assert!(matches!(again, Outcome::Done(_)), "{again:?}");
        arena.provider.add_client(arena.provider.client_id(), next, ClientAuth::Any);
        works(&arena, &successor, &user).await;
        tally.count(&arena.sends(&user));
        tally.kills += 1;
    }
    tally
}

/// The provider has rotated, and the process that asked dies before it hears.
pub(super) async fn r04_r05_killed_with_the_reply_on_its_way(kind: Kind) -> Tally {
    let leeway = 60;
    let modes = [
        (Rotation::Strict, true),
        (Rotation::Family, true),
        (Rotation::LeewaySiblings { secs: leeway }, false),
        (Rotation::LeewayLatest { secs: leeway }, false),
        (Rotation::Idempotent { secs: leeway }, false),
        (Rotation::Static, false),
    ];
    let mut running = JoinSet::new();
    for (rotation, lost) in modes {
        running.spawn(reply_never_read(kind, rotation, lost));
    }
    let mut tally = Tally::default();
    while let Some(done) = running.join_next().await {
        tally += done.expect("the scenario holds");
    }
    tally
}

async fn reply_never_read(kind: Kind, rotation: Rotation, lost: bool) -> Tally {
    let user = &format!("{rotation:?}");
    let arena = Arena::start(PROGRAM, kind, Options { rotation, ..Options::default() }).await;
    let (victim, successor) = (Arc::new(arena.worker().await), arena.worker().await);
    arena.connect(&victim, "ada").await;
    let gate = arena.provider.hold_next_reply(Endpoint::Token);
    let asking = Arc::clone(&victim);
    let asking = tokio::spawn(async move { asking.ask(Command::Read(Read::fresh("ada"))).await });
    gate.arrived().await;
    victim.kill().await;
    gate.release();
    assert!(asking.await.expect("no panic").is_err());

    let outcome = arena.settled(&successor, &Read::fresh("ada")).await;
    let sends = arena.sends("ada");
    let mut tally = Tally { kills: 1, losses: usize::from(lost), ..Tally::default() };
    tally.count(&sends);
    assert_eq!((sends.most, sends.generations), (2, 1), "{user}: one retry");
    if lost {
        assert_lost(&outcome, &successor, "ada");
        arena.connect(&successor, "ada").await;
    } else {
        assert!(matches!(outcome, Outcome::Token { .. }), "{user}: {outcome:?}");
    }
    works(&arena, &successor, "ada").await;
    tally
}
