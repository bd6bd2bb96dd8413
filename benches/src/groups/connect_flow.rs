//! A user connects: authorization started, callback completed, with a provider that answers at once.

use std::hint::black_box;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::Mutex;
use vault_core::id::UserId;

use super::Bench;
use crate::backend::memory;
use crate::backend::postgres::Postgres;
use crate::cipher;
use crate::group::{Case, Group, names};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::servers::Servers;
use crate::setup::{self, Setup, Size};

const BENCH: &str = "connect_flow";
const SIZE: Size = Size { rows: 1, token_bytes: Plan::USUAL_BYTES };

/// Floor: the three values that a flow seals, and the one that it opens.
pub(super) fn local(bench: &mut Bench<'_>) {
    let setup = bench.runtime.block_on(memory::seed(SIZE));
    let case = Case::new(BENCH, "memory").size(SIZE);
    bench.measure(Group::latency(case, Arc::new(Connect(setup))).versus(names::BARE, Arc::new(Seals)));
}

/// Floor: the three writes of a flow, each a statement of its own.
pub(super) fn postgres(bench: &mut Bench<'_>, servers: &Servers) {
    let (setup, writes) = bench.runtime.block_on(async {
        let postgres = Postgres::seed(&servers.postgres, SIZE).await;
        (postgres.setup.clone(), Writes::on(&postgres).await)
    });
    let case = Case::new(BENCH, "PostgreSQL, TCP").size(SIZE);
    bench.measure(Group::latency(case, Arc::new(Connect(setup))).versus(names::BARE, Arc::new(writes)));
}

struct Connect(Setup);

impl Operation for Connect {
    async fn run(&self, n: u64) {
        let user = UserId::new(format!("new-{n}")).expect("a plain id");
        setup::connect(&self.0.vault, &user, &self.0.connector).await;
    }
}

struct Seals;

impl Operation for Seals {
    async fn run(&self, n: u64) {
        let (key, small) = ([7; 32], [b'x'; 256]);
        let flow = cipher::seal(&key, n, &small);
        black_box(cipher::open(&key, &flow));
        black_box(cipher::seal(&key, n, &small));
        black_box(cipher::seal(&key, n, &[b'x'; Plan::USUAL_BYTES]));
    }
}

struct Writes {
    connection: Mutex<PgConnection>,
    statements: [Arc<str>; 3],
}

impl Writes {
    async fn on(postgres: &Postgres) -> Self {
        let table = format!("{}_bare", postgres.table);
        let mut connection = PgConnection::connect(&postgres.url).await.expect("the server is up");
        let create = format!("CREATE TABLE {table} (id bigint PRIMARY KEY, value bytea NOT NULL)");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.expect("a new table");
        let insert: Arc<str> = format!("INSERT INTO {table} (id, value) VALUES ($1, $2)").into();
        let take = format!("DELETE FROM {table} WHERE id = $1 RETURNING value").into();
        Self { connection: Mutex::new(connection), statements: [Arc::clone(&insert), take, insert] }
    }
}

impl Operation for Writes {
    async fn run(&self, n: u64) {
        let id = i64::try_from(n).expect("a small number");
        let mut connection = self.connection.lock().await;
        let [flow, take, connect] = self.statements.clone().map(|sql| sqlx::query(AssertSqlSafe(sql)));
        let done = async {
            flow.bind(id).bind(&[0u8; 512][..]).execute(&mut *connection).await?;
            take.bind(id).fetch_one(&mut *connection).await?;
            connect.bind(id).bind(&[0u8; Plan::USUAL_BYTES][..]).execute(&mut *connection).await
        };
        let done: sqlx::Result<_> = done.await;
        done.expect("the server is up");
    }
}
