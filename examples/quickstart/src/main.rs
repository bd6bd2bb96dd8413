//! A small web app whose users connect their calendar.
//!
//! `cargo run -p quickstart` serves it on this machine, with SQLite and a simulated provider; `-- --script` shows the same
//! without a browser. Read `demo.rs` for how a vault is put together, `app.rs` for the routes of a host application, and
//! `calendar.rs` for how backend code uses a token.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod app;
mod calendar;
mod demo;
mod failure;
mod folder;
mod page;
mod script;
mod session;
mod storage;

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;

use self::demo::Demo;
use self::folder::Folder;
use self::storage::Storage;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const PORT: u16 = 4180;
const HELP: &str = "\
A small web app whose users connect their calendar, at a provider that this program simulates.

cargo run -p quickstart                  serve it on 127.0.0.1 and print its URL
cargo run -p quickstart -- --script      show the same without a browser, and what is stored

--store STORE   where the vault keeps its data: sqlite (a file in the folder; the default), memory,
                postgres://USER@HOST/DATABASE, redis://HOST or redis-cluster://HOST:PORT,HOST:PORT
--dir FOLDER    where database and key are kept: ./quickstart-data unless given; made if absent
--port N        the web app's port: 4180, or any free one if that is taken; 0 takes any free one";

#[derive(Debug)]
struct Args {
    script: bool,
    storage: Storage,
    folder: PathBuf,
    port: Option<u16>,
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    let folder = Folder::open(&args.folder)?;
    if args.script {
        script::run(folder, &args.storage).await
    } else {
        serve(folder, &args.storage, args.port).await
    }
}

/// Until Ctrl-C.
async fn serve(folder: Folder, storage: &Storage, port: Option<u16>) -> Result<()> {
    // On loopback only: nobody else is to sign in as Alice.
    let listener = match port {
        Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?,
        None => match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        },
    };
    let base = format!("http://{}", listener.local_addr()?);
    let demo = Arc::new(Demo::start(folder, storage, format!("{base}{}", app::CALLBACK)).await?);
    demo.vault.spawn_maintenance();
    println!("{}\n  storage    {}", demo.folder, demo.storage);
    println!(
        "Demo provider at {}, in this process. It forgets everything when this stops.",
        demo.provider.issuer()
    );
    println!("\nOpen {base} and press Ctrl-C to stop.");
    axum::serve(listener, app::router(Arc::clone(&demo))).with_graceful_shutdown(interrupted()).await?;
    println!("\nStopping.");
    demo.stop().await;
    Ok(())
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Args {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed =
            Self { script: false, storage: Storage::Sqlite, folder: "quickstart-data".into(), port: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--script" => parsed.script = true,
                "--store" => parsed.storage = value()?.parse()?,
                "--dir" => parsed.folder = value()?.into(),
                "--port" => {
                    parsed.port = Some(value()?.parse().map_err(|_| "--port needs a number up to 65535")?);
                }
                _ => return Err(format!("unknown argument `{arg}`; try --help").into()),
            }
        }
        if parsed.script && parsed.port.is_some() {
            return Err("--script serves nothing, so it takes no --port".into());
        }
        Ok(parsed)
    }
}

/// One line. Messages of the vault leave their sources out, and neither ever carries a secret.
fn with_sources(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |line, source| format!("{line}: {source}"))
}
