//! Which server takes writes.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Mutex;
use vault_core::store::{StoreError, StoreErrorKind};

use super::error::fault;

/// How long a server may take to say whether it is the primary.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pool for each server, one of which is in use.
#[derive(Debug, Clone)]
pub(super) struct Hosts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pools: Vec<PgPool>,
    primary: AtomicUsize,
    /// The primary is unknown, or a call on it failed as if it were none any more.
    lost: AtomicBool,
    /// Held by who looks for it: why the last search failed.
    search: Mutex<Option<StoreError>>,
    /// How many searches have failed.
    failures: AtomicU64,
}

impl Hosts {
    /// One server, whatever it is.
    pub(super) fn one(pool: PgPool) -> Self {
        Self::new(vec![pool], false)
    }

    /// Several servers, of which one takes writes.
    pub(super) fn several(pools: Vec<PgPool>) -> Self {
        let is_search_needed = pools.len() > 1;
        Self::new(pools, is_search_needed)
    }

    fn new(pools: Vec<PgPool>, lost: bool) -> Self {
        let (primary, lost, search) = (AtomicUsize::new(0), AtomicBool::new(lost), Mutex::default());
        Self(Arc::new(Inner { pools, primary, lost, search, failures: AtomicU64::new(0) }))
    }

    pub(super) fn pools(&self) -> &[PgPool] {
        &self.0.pools
    }

    /// The pool of the primary.
    pub(super) async fn primary(&self) -> Result<&PgPool, StoreError> {
        self.primary_index().await.map(|index| &self.0.pools[index])
    }

    /// Which of the [`pools`](Self::pools) is the primary's.
    pub(super) async fn primary_index(&self) -> Result<usize, StoreError> {
        let inner = &*self.0;
        if inner.lost.load(Ordering::Acquire) {
            inner.search().await?;
        }
        Ok(inner.primary.load(Ordering::Acquire))
    }

    /// Learns from how a call ended.
    pub(super) fn observe(&self, error: Option<&StoreError>) {
        let is_gone = error.is_some_and(|error| {
            matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::ReadOnly)
        });
        if is_gone && self.0.pools.len() > 1 {
            self.0.lost.store(true, Ordering::Release);
        }
    }

    /// Whether it is, as far as anybody knows.
    pub(super) fn is_primary(&self, index: usize) -> bool {
        !self.0.lost.load(Ordering::Acquire) && index == self.0.primary.load(Ordering::Acquire)
    }

    /// By [`close`](Self::close), or by the host.
    pub(super) fn is_closed(&self) -> bool {
        self.0.pools[self.0.primary.load(Ordering::Acquire)].is_closed()
    }

    pub(super) async fn close(&self) {
        for pool in &self.0.pools {
            pool.close().await;
        }
    }
}

impl Inner {
    /// Looks for the primary. Of many callers at once one does, and the others wait; when that fails, those who waited fail
    /// with it instead of looking one after another.
    async fn search(&self) -> Result<(), StoreError> {
        let before = self.failures.load(Ordering::Acquire);
        let mut failure = self.search.lock().await;
        if !self.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        let failed_meanwhile = self.failures.load(Ordering::Acquire) != before;
        if let Some(error) = failure.as_ref().filter(|_| failed_meanwhile) {
            return Err(error.clone());
        }
        match self.find().await {
            Ok(index) => {
                self.primary.store(index, Ordering::Release);
                self.lost.store(false, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                *failure = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// The first server that is not in recovery.
    async fn find(&self) -> Result<usize, StoreError> {
        let mut failure = StoreError::new(StoreErrorKind::ReadOnly, "none of the servers is a primary");
        for (index, pool) in self.pools.iter().enumerate() {
            let asked = tokio::time::timeout(PATIENCE, is_standby(pool)).await;
            match asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(false) => return Ok(index),
                Ok(true) => {}
                Err(error) => failure = fault("looking for the primary")(error),
            }
        }
        Err(failure)
    }
}

async fn is_standby(pool: &PgPool) -> sqlx::Result<bool> {
    use sqlx::Row as _;
    // Not prepared: there may be a pooler in between.
    let mut rows = sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_all(pool).await?;
    rows.pop().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}

/// Opens at most so many connections at a time, as `pool` does: with its hooks and timeouts.
pub(super) fn opener(pool: &PgPool, connections: u32) -> PgPool {
    let options = pool.options().clone().min_connections(0).max_connections(connections);
    let options = options.idle_timeout(None).max_lifetime(None);
    options.connect_lazy_with(pool.connect_options().as_ref().clone())
}

/// `postgres://user:password@first:1,second:2/database?option=value` as one set of options for each server.
pub(super) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, StoreError> {
    let malformed = || StoreError::new(StoreErrorKind::Misconfigured, "not a URL of PostgreSQL servers");
    let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(malformed());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let parse = |host| {
        PgConnectOptions::from_str(&format!("{scheme}://{user}{host}{path}"))
            .map_err(|error| malformed().with_source(error))
    };
    hosts.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<(String, u16)> {
        let hosts = parse(url).expect("valid");
        for host in &hosts {
            assert_eq!((host.get_username(), host.get_database()), ("me", Some("db")));
        }
        hosts.iter().map(|host| (host.get_host().to_owned(), host.get_port())).collect()
    }

    #[test]
    fn a_url_may_name_several_servers() {
        let one = [("a.example".to_owned(), 5432)];
        assert_eq!(addresses("postgres://me@a.example/db"), one);
        let two = [("a.example".to_owned(), 1), ("::1".to_owned(), 2)];
        let parsed = addresses("postgresql://me:p%40ss,word@a.example:1,[::1]:2/db?application_name=x");
        assert_eq!(parsed[0], two[0]);
        assert_eq!((parsed[1].0.trim_matches(['[', ']']), parsed[1].1), ("::1", 2));
    }

    #[test]
    fn a_malformed_url_is_refused_without_being_shown() {
        for url in [
            "",
            "redis://x",
            "postgres:/x",
            "postgres://me:hunter2@a:port/db",
            "postgres://me:hunter2@a,b:99999/db",
        ] {
            let error = parse(url).expect_err(url);
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
        }
    }

    /// A server that takes connections and never says a word.
    fn silent() -> (std::net::TcpListener, PgPool) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("postgres://me@{}/db", socket.local_addr().expect("bound"));
        (socket, PgPool::connect_lazy(&url).expect("a URL"))
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_wait_for_a_search_in_vain_nobody_starts_another() {
        let (_sockets, pools): (Vec<_>, Vec<_>) = [(); 2].map(|()| silent()).into_iter().unzip();
        let hosts = Hosts::several(pools);
        let began = tokio::time::Instant::now();
        let callers: Vec<_> = (0..20)
            .map(|_| hosts.clone())
            .map(|hosts| tokio::spawn(async move { hosts.primary().await.map(drop) }))
            .collect();
        for caller in callers {
            let error = caller.await.expect("no panic").expect_err("nobody answers");
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        }
        assert!(began.elapsed() < PATIENCE * 3, "{:?}", began.elapsed());
    }
}
