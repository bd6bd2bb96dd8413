//! The holder of the lease stands still for three lease times, and somebody else goes on meanwhile.

use std::sync::Arc;

use tokio::task::{JoinHandle, JoinSet};
use vault_testkit::simulator::{Endpoint, Rotation};
use vault_tests::chaos::protocol::{Answer, Command, Outcome, Read, Side, Signal};
use vault_tests::chaos::{Arena, Died, Kind, Options, Tally, Worker};

use super::PROGRAM;
use super::kills::{LOST, works};

const LEEWAY: u64 = 60;

/// A process whose refresh came to a standstill, and one that comes after it.
struct Standstill {
    arena: Arena,
    holder: Arc<Worker>,
    successor: Worker,
    asking: Option<JoinHandle<Result<Vec<Answer>, Died>>>,
}

impl Standstill {
    async fn begin(kind: Kind, rotation: Rotation) -> Self {
        let arena = Arena::start(PROGRAM, kind, Options { rotation, ..Options::default() }).await;
        let (holder, successor) = (Arc::new(arena.worker().await), arena.worker().await);
        arena.connect(&holder, "ada").await;
        Self { arena, holder, successor, asking: None }
    }

    fn ask(&mut self) {
        let holder = Arc::clone(&self.holder);
        self.asking = Some(tokio::spawn(async move { holder.ask(Command::Read(Read::fresh("ada"))).await }));
    }

    /// The holder stops itself at that step.
    async fn at_step(kind: Kind, rotation: Rotation, step: &str, side: Side) -> Self {
        let mut standstill = Self::begin(kind, rotation).await;
        standstill.holder.arm(step, side, Signal::Stop).await;
        standstill.ask();
        standstill.holder.stopped().await;
        standstill
    }

    /// What the successor hears, and what the holder has to say three lease times later.
    async fn end(&mut self) -> (Outcome, Outcome) {
        let lapsed = tokio::time::sleep(3 * self.arena.setup.lease_ttl);
        let read = Read::fresh("ada");
        let (taken_over, ()) = tokio::join!(self.arena.settled(&self.successor, &read), lapsed);
        self.holder.resume().await;
        let asked = self.asking.take().expect("it was asked");
        let late = asked.await.expect("no panic").expect("it lives");
        (taken_over, late[0].outcome.clone())
    }

    fn tally(&self, losses: usize) -> Tally {
        let mut tally = Tally { kills: 1, losses, ..Tally::default() };
        tally.count(&self.arena.sends("ada"));
        tally
    }
}

/// With a provider that ends the grant if the holder sends after all.
pub(super) async fn r25_stopped_before_it_sent(kind: Kind) -> Tally {
    let step = ("refresh:marker", Side::After);
    let mut standstill = Standstill::at_step(kind, Rotation::Family, step.0, step.1).await;
    let (taken_over, late) = standstill.end().await;
    assert!(matches!(taken_over, Outcome::Token { .. }), "{taken_over:?}");
    assert!(matches!(late, Outcome::Token { .. }), "the successor's token: {late:?}");
    let tally = standstill.tally(0);
    assert_eq!(standstill.arena.sends("ada").most, 1, "the send gate held");
    works(&standstill.arena, &standstill.successor, "ada").await;
    tally
}

/// The reply is there and nobody has looked at it: the provider has rotated.
pub(super) async fn r07_stopped_with_the_reply_in_hand(kind: Kind) -> Tally {
    let modes = [
        Rotation::Strict,
        Rotation::LeewaySiblings { secs: LEEWAY },
        Rotation::LeewayLatest { secs: LEEWAY },
        Rotation::Idempotent { secs: LEEWAY },
    ];
    let mut running = JoinSet::new();
    for rotation in modes {
        running.spawn(reply_in_hand(kind, rotation));
    }
    let mut tally = Tally::default();
    while let Some(done) = running.join_next().await {
        tally += done.expect("the scenario holds");
    }
    tally
}

async fn reply_in_hand(kind: Kind, rotation: Rotation) -> Tally {
    let mut standstill = Standstill::at_step(kind, rotation, "refresh:send", Side::After).await;
    let (taken_over, late) = standstill.end().await;
    let Standstill { arena, holder, successor, .. } = &standstill;
    match &taken_over {
        Outcome::Token { .. } => {}
        // Nothing else could be known then. The holder knows better.
        Outcome::Failed { kind, .. } if kind == LOST && rotation == Rotation::Strict => {
            assert!(!holder.events(&["Healed", "ada"]).is_empty(), "{:?}", holder.events(&[]));
        }
        other => panic!("{rotation:?}: {other:?}"),
    }
    assert!(matches!(late, Outcome::Token { .. }), "{rotation:?}: {late:?}");
    let tally = standstill.tally(0);
    works(arena, successor, "ada").await;
    tally
}

/// Stopped from outside with the request under way: when the process goes on, its deadline has passed, and the reply may be
/// lost with it. Either way the state tells the truth.
pub(super) async fn r07_stopped_with_the_reply_on_its_way(kind: Kind) -> Tally {
    let mut standstill = Standstill::begin(kind, Rotation::Strict).await;
    let gate = standstill.arena.provider.hold_next_reply(Endpoint::Token);
    standstill.ask();
    gate.arrived().await;
    standstill.holder.stop().await;
    gate.release();
    standstill.end().await;

    let Standstill { arena, successor, .. } = &standstill;
    let outcome = arena.settled(successor, &Read::of("ada")).await;
    let lost = matches!(&outcome, Outcome::Failed { kind, .. } if kind == LOST);
    assert!(lost || matches!(outcome, Outcome::Token { .. }), "{outcome:?}");
    let tally = standstill.tally(usize::from(lost));
    if lost {
        let stored = arena.stored_token(successor, "ada").await.expect("a refresh token");
        assert!(stored.state != vault_testkit::simulator::TokenState::Live, "it was not lost: {stored:?}");
        arena.connect(successor, "ada").await;
    }
    works(arena, successor, "ada").await;
    tally
}
