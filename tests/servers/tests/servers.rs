//! The servers start, fail and come back as they are told to.
#![expect(clippy::print_stdout, reason = "a test talks to itself in another process")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use vault_servers::cluster::RedisCluster;
use vault_servers::pgbouncer::{self, PgBouncer};
use vault_servers::postgres::{self, Postgres};
use vault_servers::redis::{self, Redis};
use vault_servers::resp::Reply;
use vault_servers::sentinel::Sentinel;

/// A slot, and a key in it.
const FOO: (u16, &str) = (12_182, "foo");

fn count(postgres: &Postgres) -> String {
    let rows = postgres.query("select count(*) from t").expect("the table is there");
    rows[0][0].clone().expect("a count is not null")
}

#[test]
fn an_acknowledged_row_outlives_a_killed_postgres() {
    let mut postgres = Postgres::start(&postgres::Options::durable()).expect("PostgreSQL starts");
    postgres.query("create table t (n int)").expect("the table is made");
    for n in 1..=2 {
        postgres.query("insert into t values (1)").expect("the row is written");
        postgres.kill().expect("it is killed");
        assert!(postgres.query("select 1").is_err(), "a killed server answers nobody");
        postgres.restart().expect("it recovers");
        assert_eq!(count(&postgres), n.to_string());
    }
}

#[test]
fn a_standby_follows_and_takes_over() {
    let mut primary = Postgres::start(&postgres::Options::fast()).expect("PostgreSQL starts");
    let mut standby = primary.standby().expect("a replica starts");
    primary.query("set synchronous_commit = off; create table t (n int)").expect("the table is made");
    let written =
        primary.query("select pg_current_wal_flush_lsn()").expect("it says where it is")[0][0].clone();
    let written = written.expect("a position is not null");
    let caught_up = format!("select pg_last_wal_replay_lsn() >= '{written}'");
    eventually("the replica has the table", || {
        standby.query(&caught_up).is_ok_and(|rows| rows[0][0].as_deref() == Some("t"))
            && standby.query("select count(*) from t").is_ok()
    });
    let refused = standby.query("insert into t values (1)").expect_err("a standby is read-only").to_string();
    assert!(refused.starts_with("25006: "), "{refused}");

    primary.kill().expect("it is killed");
    standby.promote().expect("it is promoted");
    standby.query("insert into t values (1)").expect("a primary takes writes");
    assert_eq!(count(&standby), "1");
}

#[test]
fn pgbouncer_pools_and_comes_back() {
    let postgres = Postgres::start(&postgres::Options::fast()).expect("PostgreSQL starts");
    let mut pgbouncer =
        PgBouncer::start(postgres.port(), &pgbouncer::Options::default()).expect("PgBouncer starts");
    pgbouncer.kill().expect("it is killed");
    pgbouncer.restart().expect("it starts again");
    let port = pgbouncer.url().rsplit([':', '/']).nth(1).and_then(|port| port.parse::<u16>().ok());
    TcpStream::connect(("127.0.0.1", port.expect("the URL has a port"))).expect("it listens");
}

#[test]
fn a_paused_postgres_answers_when_resumed() {
    let mut postgres = Postgres::start(&postgres::Options::fast()).expect("PostgreSQL starts");
    postgres.pause().expect("it pauses");
    let mut silent = TcpStream::connect(("127.0.0.1", postgres.port())).expect("the system connects");
    silent.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket has timeouts");
    // A request for TLS: a server answers it with one byte.
    silent.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).expect("the system buffers");
    assert!(BufReader::new(&silent).fill_buf().is_err(), "a paused server is silent");
    postgres.resume().expect("it goes on");
    assert_eq!(postgres.query("select 1").expect("it answers"), [[Some("1".to_owned())]]);
    postgres.pause().expect("a paused server can be dropped");
}

#[test]
fn an_acknowledged_key_outlives_a_killed_redis() {
    let mut redis = Redis::start(&redis::Options::default()).expect("Redis starts");
    redis.command(&["SET", "key", "value"]).expect("the key is written");
    redis.kill().expect("it is killed");
    assert!(redis.restart().and(redis.restart()).is_err(), "a running server is not started");
    assert_eq!(redis.command(&["GET", "key"]).expect("it is back").text(), "value");
    redis.pause().expect("a paused server can be dropped");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let options = redis::Options::default().with("maxmemory-policy", "no-such-policy");
    let error = Redis::start(&options).expect_err("it cannot start").to_string();
    assert!(error.starts_with("cannot start redis: it ended with exit status: 1"), "{error}");
    assert!(error.contains("no-such-policy"), "{error}");
}

#[test]
fn a_cluster_replaces_a_killed_master_and_moves_a_slot() {
    let mut cluster = RedisCluster::start(&redis::Options::default()).expect("the cluster starts");
    let (slot, key) = FOO;
    let master = cluster.master_of(slot).expect("the slot is served");
    cluster.node(master).command(&["SET", key, "value"]).expect("the key is written");

    let to = (master + 1) % 3;
    cluster.begin_move(slot, to).expect("the slot begins to move");
    let asked =
        cluster.node(master).command(&["GET", "x{foo}"]).expect_err("a new key is elsewhere").to_string();
    assert!(asked.contains("ASK 12182 "), "{asked}");
    cluster.finish_move(slot, to).expect("the slot moves");
    assert_eq!(cluster.master_of(slot).expect("the slot is served"), to);
    let moved = cluster.node(master).command(&["GET", key]).expect_err("the key is elsewhere").to_string();
    assert!(moved.contains("MOVED 12182 "), "{moved}");
    cluster.wait_until_whole().expect("all know that");

    has_a_key(cluster.node(to + 3));
    cluster.kill(to).expect("it is killed");
    cluster.wait_until_whole().expect("its replica takes over");
    let heir = cluster.master_of(slot).expect("the slot is served");
    assert_eq!(heir, to + 3);
    assert_eq!(cluster.node(heir).command(&["GET", key]).expect("it is a master").text(), "value");
    cluster.restart(to).expect("it starts again");
    cluster.wait_until_whole().expect("it is a replica now");
    let master = cluster.master_of(slot).expect("the slot is served");
    assert_eq!(cluster.node(master).command(&["GET", key]).expect("it is a master").text(), "value");
}

#[test]
fn sentinels_promote_the_replica_of_a_killed_master() {
    let mut sentinel = Sentinel::start(&redis::Options::default()).expect("Sentinel starts");
    let master = sentinel.master().expect("they agree");
    sentinel.server(master).command(&["SET", "key", "value"]).expect("the key is written");
    has_a_key(sentinel.server(1 - master));
    assert_eq!(sentinel.failover().expect("the replica is promoted"), master);
    let heir = sentinel.master().expect("they agree");
    assert_eq!(sentinel.server(heir).command(&["GET", "key"]).expect("it is a master").text(), "value");
    sentinel.restart(master).expect("it starts again");
    sentinel.wait_until_whole().expect("it is a replica now");
    assert_eq!(sentinel.server(master).command(&["GET", "key"]).expect("it follows").text(), "value");
}

/// Runs itself in another process, which starts servers, and kills that.
#[test]
fn nothing_outlives_a_killed_test() {
    const HOLD: &str = "VAULT_SERVERS_HOLD";
    const NAME: &str = "nothing_outlives_a_killed_test";
    if env::var_os(HOLD).is_some() {
        let _redis = Redis::start(&redis::Options::default()).expect("Redis starts");
        let mut postgres = Postgres::start(&postgres::Options::fast()).expect("PostgreSQL starts");
        postgres.pause().expect("it pauses");
        println!("\nholding");
        loop {
            sleep(Duration::from_secs(1));
        }
    }
    let scratch = env::temp_dir().join(format!("vault-servers-test-{}", std::process::id()));
    fs::create_dir(&scratch).expect("a folder is made");
    fs::set_permissions(&scratch, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new(env::current_exe().expect("we have a program"));
    command.args(["--exact", NAME, "--nocapture"]).env(HOLD, "1").env("TMPDIR", &scratch);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("we run");
    let lines = BufReader::new(child.stdout.take().expect("its stdout is piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "holding"), "the servers run");
    assert!(processes_below(&scratch) > 2, "PostgreSQL has children");

    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    eventually("all processes are gone", || processes_below(&scratch) == 0);
    eventually("all folders are gone", || {
        fs::read_dir(&scratch).is_ok_and(|mut folders| folders.next().is_none())
    });
    fs::remove_dir(&scratch).expect("it is empty");
}

/// Processes that work in a folder of ours; zombies have none.
fn processes_below(folder: &Path) -> usize {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let folders = processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    folders.filter(|cwd| cwd.starts_with(folder)).count()
}

fn has_a_key(replica: &Redis) {
    eventually("the replica has the key", || {
        replica.command(&["DBSIZE"]).is_ok_and(|size| size == Reply::Integer(1))
    });
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(20));
    }
}
