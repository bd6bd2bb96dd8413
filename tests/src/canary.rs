//! Secrets must not come out anywhere. Every scenario ends with a search for its own: tokens, codes, states, verifiers,
//! client secrets, in the log, the events, the errors that it saw, and the raw bytes of its storage.

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;

use crate::backend::Backend;

/// All that was logged in this process, and what one scenario showed.
#[derive(Debug, Clone, Default)]
pub struct Canary {
    shown: Arc<Mutex<String>>,
    /// Where the log stood when the scenario began: what came before cannot hold its secrets.
    log_from: usize,
}

impl Canary {
    /// Starts to collect the log, if that has not begun yet.
    #[must_use]
    pub fn new() -> Self {
        let log_from = log().0.lock().expect("no panics while logging").len();
        Self { log_from, ..Self::default() }
    }

    /// Takes note of something that a user could see: an error, an event, a listing. `Debug`, pretty `Debug`, and the
    /// sources of errors are all looked at.
    pub fn shown(&self, what: &dyn Debug) {
        let mut shown = self.shown.lock().expect("no panics while noting");
        let _ = writeln!(shown, "{what:?}\n{what:#?}");
    }

    /// An error with everything behind it.
    pub fn error(&self, error: &(dyn std::error::Error + 'static)) {
        self.shown(&error.to_string());
        self.shown(&error);
        if let Some(source) = error.source() {
            self.error(source);
        }
    }

    /// Panics if one of `secrets` came out, or is stored as it is.
    pub fn check(&self, secrets: &[String], backend: &dyn Backend) {
        let shown = self.shown.lock().expect("no panics while noting").clone();
        let log = log().0.lock().expect("no panics while logging")[self.log_from..].to_vec();
        let log = String::from_utf8_lossy(&log);
        let stored = dump(backend);
        assert!(!stored.is_empty(), "there is storage to search");
        for secret in secrets.iter().filter(|secret| secret.len() >= 16) {
            let found = |place: &str| panic!("a secret came out in the {place}");
            if shown.contains(secret) {
                found("errors, events or values shown");
            }
            if log.contains(secret) {
                found("log");
            }
            assert!(secret.is_ascii(), "or the storage would have to be searched otherwise");
            if stored.contains(secret) {
                found("storage");
            }
        }
    }
}

/// From wherever a scenario ends: a thread of its own has no other runtime on it.
fn dump(backend: &dyn Backend) -> String {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let dump = || runtime().expect("a runtime").block_on(backend.dump());
    std::thread::scope(|scope| scope.spawn(dump).join().expect("the storage can be read"))
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(log.clone());
        tracing::subscriber::set_global_default(subscriber.finish()).expect("the tests' only subscriber");
        log
    })
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panics while logging").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
