//! The storage or the provider goes away and comes back.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;
use vault_servers::cluster::RedisCluster;
use vault_servers::postgres::{self, Postgres};
use vault_servers::redis::{self, Redis};
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::chaos::protocol::{Command, Outcome, Read};
use vault_tests::chaos::{Arena, Kind, Options, Storage, Tally, sized};

use super::PROGRAM;
use super::kills::works;
use super::storms::strictest;
use crate::outages::support::{blocking, on};

/// A server of the scenario's own.
enum Server {
    /// There is none: somebody holds the database's lock instead.
    Sqlite {
        folder: TempDir,
        _lock: Option<SqliteConnection>,
    },
    Postgres(Postgres),
    Redis(Redis),
    Cluster(RedisCluster),
}

impl Server {
    async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                Self::Sqlite { folder: tempfile::tempdir().expect("a temporary folder"), _lock: None }
            }
            Kind::Postgres => {
                Self::Postgres(blocking(|| Postgres::start(&postgres::Options::durable())).await)
            }
            Kind::Redis => Self::Redis(blocking(|| Redis::start(&redis::Options::default())).await),
            Kind::RedisCluster => {
                // Its masters come back before anybody takes their place.
                let options = redis::Options::default().with_dead_after(Duration::from_secs(60));
                Self::Cluster(blocking(move || RedisCluster::start(&options)).await)
            }
        }
    }

    fn storage(&self) -> Storage {
        match self {
            Self::Sqlite { folder, .. } => Storage::Sqlite { path: folder.path().join("vault.db") },
            Self::Postgres(server) => Storage::postgres(server.url()),
            Self::Redis(server) => Storage::redis(server.url()),
            Self::Cluster(server) => Storage::cluster(server.urls()),
        }
    }

    async fn goes(self) -> Self {
        match self {
            Self::Sqlite { folder, .. } => {
                let options = SqliteConnectOptions::new().filename(folder.path().join("vault.db"));
                let options = options.busy_timeout(Duration::from_secs(30));
                let mut locked = options.connect().await.expect("the database opens");
                sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut locked).await.expect("the lock");
                Self::Sqlite { folder, _lock: Some(locked) }
            }
            Self::Postgres(server) => Self::Postgres(on(server, Postgres::kill).await),
            Self::Redis(server) => Self::Redis(on(server, Redis::kill).await),
            Self::Cluster(server) => {
                Self::Cluster(on(server, |server| (0..3).try_for_each(|n| server.kill(n))).await)
            }
        }
    }

    async fn comes(self) -> Self {
        match self {
            // The lock goes with the connection.
            Self::Sqlite { folder, .. } => Self::Sqlite { folder, _lock: None },
            Self::Postgres(server) => Self::Postgres(on(server, Postgres::restart).await),
            Self::Redis(server) => Self::Redis(on(server, Redis::restart).await),
            Self::Cluster(server) => Self::Cluster(
                on(server, |server| {
                    (0..3).try_for_each(|n| server.restart(n))?;
                    server.wait_until_whole()
                })
                .await,
            ),
        }
    }
}

/// The provider has rotated, and the storage is away when the answer comes. Somebody else asks as soon as it is back.
pub(super) async fn s02_store_restarted_while_a_reply_is_in_flight(kind: Kind) -> Tally {
    let server = Server::start(kind).await;
    let arena = Arena::on(PROGRAM, server.storage(), Options::default()).await;
    let workers = arena.workers(2).await;
    let (holder, other) = (&workers[0], &workers[1]);
    arena.connect(holder, "ada").await;

    let gate = arena.provider.hold_next_reply(Endpoint::Token);
    let asking = {
        let holder = Arc::clone(holder);
        tokio::spawn(async move { holder.read(Read::fresh("ada")).await })
    };
    gate.arrived().await;
    let server = server.goes().await;
    gate.release();
    holder.until_event(&["PersistPending", "ada"]).await;
    let served = asking.await.expect("no panic");
    assert_eq!(
        served,
        Outcome::Token { generation: 2, status: None, second: false },
        "once the host was told"
    );

    let server = server.comes().await;
    let asked = arena.settled(other, &Read::fresh("ada")).await;
    holder.until_event(&["Refreshed", "generation: 2"]).await;
    let mut tally = Tally { kills: 1, ..Tally::default() };
    tally.count(&arena.sends("ada"));
    assert!(arena.sends("ada").most <= 2, "{asked:?}: the other asked once for what the holder had");
    works(&arena, other, "ada").await;
    drop(workers);
    drop(server);
    tally
}

/// Hours pass, with maintenance in four processes all the while, and a reader of every token in one or the other.
pub(super) async fn r18_provider_down_for_hours(kind: Kind) -> Tally {
    const STEP: Duration = Duration::from_secs(10 * 60);
    let (users, hours) = sized((3, 2), (10, 6));
    let arena = Arena::start(PROGRAM, kind, Options { settle: Some(0), ..strictest() }).await;
    let workers = arena.workers(4).await;
    let users: Vec<String> = (0..users).map(|n| format!("user {n}")).collect();
    for (n, user) in users.iter().enumerate() {
        arena.connect(&workers[n % 4], user).await;
    }

    let down = Fault::html(502).for_grant("refresh_token").forever();
    arena.provider.inject(Endpoint::Token, down);
    let steps = hours * 6;
    for step in 0..steps {
        arena.pass_time(&workers, STEP).await;
        let mut busy = JoinSet::new();
        for worker in workers.iter().map(Arc::clone) {
            busy.spawn(async move { worker.tell(Command::Maintain).await });
        }
        for user in users.clone() {
            let reader = Arc::clone(&workers[step % 4]);
            busy.spawn(async move { reader.read(Read::of(&user)).await });
        }
        for outcome in busy.join_all().await {
            let lost = matches!(&outcome, Outcome::Failed { retryable: false, .. });
            assert!(!lost, "an outage says nothing of the grant: {outcome:?}");
        }
    }
    // Two for each time that a pass of maintenance or a reader finds the token due.
    let asked = arena.provider.refreshes().len();
    let most = 4 * users.len() * steps;
    assert!(asked <= most, "{asked} requests of a provider that is down, not {most}");

    arena.provider.clear_faults();
    arena.pass_time(&workers, 6 * STEP).await;
    let mut tally = Tally::default();
    for user in &users {
        let read = Read { use_at: Some(arena.calendar()), ..Read::of(user) };
        let outcome = arena.settled(&workers[0], &read).await;
        assert!(
            matches!(outcome, Outcome::Token { status: Some(200), second: false, .. }),
            "{user}: {outcome:?}"
        );
        tally.count(&arena.sends(user));
    }
    for worker in &workers {
        assert_eq!(worker.events(&["NeedsReauthorization {"]), [""; 0]);
    }
    for user in &users {
        works(&arena, &workers[1], user).await;
    }
    tally
}
