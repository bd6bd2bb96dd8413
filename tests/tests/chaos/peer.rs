//! A real provider that ends the grant when a refresh token comes twice, and processes that are killed at random.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use url::Url;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_tests::chaos::protocol::{Command, Outcome, Read, Setup, Side};
use vault_tests::chaos::{Kind, Storage, Tally, Worker, sized};

use super::PROGRAM;
use super::kills::LOST;
use crate::peer::http;
use crate::peer::provider::{Client, OidcProvider};

const PROCESSES: usize = 4;
const PERSON: &str = "ada";

/// The processes, of which some die, and what they have seen.
struct Crew {
    setup: Setup,
    places: Vec<Mutex<Arc<Worker>>>,
    refreshed: AtomicU64,
    /// The grant is gone, says a worker.
    lost: AtomicBool,
    done: AtomicBool,
}

impl Crew {
    async fn start(setup: Setup) -> Self {
        let mut places = Vec::new();
        for _ in 0..PROCESSES {
            places.push(Mutex::new(Arc::new(Worker::start(Path::new(PROGRAM), &setup).await)));
        }
        let (refreshed, lost, done) = Default::default();
        Self { setup, places, refreshed, lost, done }
    }

    fn worker(&self, place: usize) -> Arc<Worker> {
        Arc::clone(&self.places[place].lock().expect("nobody panics with it"))
    }

    /// Refreshes and refreshes, in whichever process has that place.
    async fn work(self: Arc<Self>, place: usize) {
        while !self.done.load(Ordering::Relaxed) {
            let answers = self.worker(place).ask(Command::Read(Read::fresh(PERSON))).await;
            match answers.map(|mut answers| answers.swap_remove(0).outcome) {
                Ok(Outcome::Token { .. }) => {
                    self.refreshed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(Outcome::Failed { kind, .. }) if kind == LOST => self.lost.store(true, Ordering::Relaxed),
                Ok(Outcome::Failed { retryable: true, .. }) | Err(_) => {}
                Ok(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills one, and puts another in its place: whether no client could have saved a token that it had just asked for.
    async fn kill(&self, place: usize) -> bool {
        let victim = self.worker(place);
        victim.kill().await;
        let between = matches!(
            victim.last_step(),
            Some((step, side)) if (step == "refresh:send") || (step == "refresh:persist" && side == Side::Before)
        );
        let next = Arc::new(Worker::start(Path::new(PROGRAM), &self.setup).await);
        *self.places[place].lock().expect("nobody panics with it") = next;
        between
    }

    /// The person consents, once more.
    async fn connect(&self) {
        let worker = self.worker(0);
        let started = worker.tell(Command::Start { user: PERSON.to_owned() }).await;
        let Outcome::Url(url) = started else { panic!("{started:?}") };
        let callback = http::browse(Url::parse(&url).expect("a URL")).await;
        let query = callback.query().expect("a query").to_owned();
        let connected = worker.tell(Command::Complete { query }).await;
        assert!(matches!(connected, Outcome::Done(_)), "{connected:?}");
    }
}

fn setup(kind: Kind, provider: &OidcProvider, client: &Client) -> Setup {
    let issuer = provider.issuer();
    let definition = format!(
        r#"
id = "peer"
name = "Peer"
scopes_check = "subset_ok"
endpoints = {{ issuer = "{issuer}", discovery = {{}} }}
authorize = {{ pkce.mode = "required" }}
client_auth = {{ kinds = ["basic"] }}
refresh_policy = {{ min_interval = 0, settle = 2, reuse = {{ mode = "family" }} }}
identity = {{ source = "id_token" }}
"#
    );
    Setup {
        storage: Storage::shared(kind, Path::new("")),
        provider: definition,
        client_id: client.id.clone(),
        client_secret: client.secret.clone().expect("it has one"),
        scopes: ["openid", "offline_access", "read"].map(str::to_owned).to_vec(),
        // OpenID Connect Core section 11: without it there is no offline access.
        authorize: [("prompt", "consent"), ("login_hint", PERSON)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        lease_ttl: Duration::from_secs(3),
        http_timeout: Duration::from_millis(1400),
        cache: None,
        clock_ahead: 0,
        follow_store: true,
        trace: true,
    }
}

fn random(below: usize) -> usize {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes).expect("random bytes");
    usize::from_le_bytes(bytes) % below
}

/// Access tokens live for two seconds. Every loss follows a kill between the request and the write of what came back: nobody
/// could have kept that token. The person connects again, and it goes on.
pub(super) async fn a_real_provider_through_random_kills(kind: Kind) -> Tally {
    let (goal, kills, pause) = sized((40, 3, 1000), (600, 20, 3000));
    let (provider, client) = (OidcProvider::running(), Client::short());
    provider.register(&client).await;
    let crew = Arc::new(Crew::start(setup(kind, &provider, &client)).await);
    crew.worker(0).tell(Command::Register).await;
    crew.connect().await;

    let mut working = JoinSet::new();
    for place in 0..PROCESSES {
        working.spawn(Arc::clone(&crew).work(place));
    }
    let (mut tally, mut between) = (Tally::default(), 0);
    while provider.stats(&client).await.refresh_ok < goal || tally.kills < kills {
        tokio::time::sleep(Duration::from_millis((pause / 2 + random(pause)) as u64)).await;
        between += usize::from(crew.kill(random(PROCESSES)).await);
        tally.kills += 1;
        if crew.lost.load(Ordering::Relaxed) {
            tally.losses += 1;
            assert!(tally.losses <= between, "{tally:?}: lost, and none of the dead had asked for a token");
            crew.connect().await;
            crew.lost.store(false, Ordering::Relaxed);
        }
    }
    crew.done.store(true, Ordering::Relaxed);
    while let Some(ended) = working.join_next().await {
        ended.expect("no answer but the expected ones");
    }
    alive(&crew, &provider, &client, &mut tally, between).await;
    tally
}

/// The grant is alive, or the last kill ended it.
async fn alive(crew: &Crew, provider: &OidcProvider, client: &Client, tally: &mut Tally, between: usize) {
    let read = Read { use_at: Some(format!("{}/me", provider.issuer())), ..Read::fresh(PERSON) };
    let outcome = crew.worker(0).read(read.clone()).await;
    if matches!(&outcome, Outcome::Failed { kind, .. } if kind == LOST) {
        tally.losses += 1;
        assert!(tally.losses <= between, "{tally:?}: lost, and none of the dead had asked for a token");
    } else {
        assert!(matches!(outcome, Outcome::Token { status: Some(200), second: false, .. }), "{outcome:?}");
    }
    let stats = provider.stats(client).await;
    tally.sends = usize::try_from(stats.refresh_calls).expect("a count");
    tally.generations = usize::try_from(stats.refresh_ok).expect("a count");
    let reused = usize::try_from(stats.reuse_detected).expect("a count");
    assert!(reused <= tally.losses, "{tally:?}: {reused} tokens were sent twice");
}
