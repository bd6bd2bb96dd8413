//! The data folder: the database, the key that opens it, and the demo provider's port.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use vault_core::KeyRing;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_testkit::simulator::{Simulator, SimulatorBuilder};

use crate::Result;

/// Below the ports that systems give out by themselves, so that the chosen one is still free next time.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// The data folder, and what was in it when it was opened.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) had_key: bool,
    pub(crate) had_database: bool,
}

impl Folder {
    /// Makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| format!("the folder {}: {error}", path.display()))?;
        let path = path.canonicalize()?;
        let there = |name: &str| path.join(name).exists();
        Ok(Self { had_key: there("vault.key"), had_database: there("vault.db"), path })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("vault.db")
    }

    /// The key in the folder. On the very first run one is made up, and the app says so; a real app never does that: its
    /// operator brings the key from where secrets are kept, `KeyRing::from_env("VAULT_KEYS")`. A key beside the data it
    /// protects is no protection.
    pub(crate) fn keys(&self) -> Result<KeyRing> {
        let path = self.path.join("vault.key");
        // A database whose key is lost must not get another one: the vault would rightly refuse to start.
        if !self.had_key && !self.had_database {
            let key = KeyRing::generate_key("quickstart", &SystemEntropy::default())?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&path)?.write_all(key.expose_secret().as_bytes())?;
        }
        Ok(KeyRing::from_file(path)?)
    }

    /// Starts the provider on the same port as the last time: the vault sends the tokens of a connection to the origin
    /// that issued them, or nowhere.
    pub(crate) async fn start(&self, provider: impl Fn() -> SimulatorBuilder + Send) -> Result<Simulator> {
        let file = self.path.join("provider.port");
        match fs::read_to_string(&file) {
            Ok(text) => {
                let port = text.trim().parse().map_err(|_| format!("no port in {}", file.display()))?;
                let started = provider().port(port).start().await;
                Ok(started.map_err(|error| {
                    let folder = self.path.display();
                    format!("the demo provider needs its port {port}: {error}; is {folder} in use? else try another --dir")
                })?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                for _ in 0..100 {
                    let port = random_port()?;
                    if let Ok(started) = provider().port(port).start().await {
                        fs::write(&file, port.to_string())?;
                        return Ok(started);
                    }
                }
                Err("the demo provider finds no free port on 127.0.0.1".into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn random_port() -> Result<u16> {
    let mut bytes = [0; 2];
    SystemEntropy::default().fill(&mut bytes)?;
    Ok(PORTS.start + u16::from_le_bytes(bytes) % (PORTS.end - PORTS.start))
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = |found| if found { "found" } else { "made" };
        writeln!(f, "Data folder {}", self.path.display())?;
        if self.database().exists() {
            writeln!(f, "  vault.db   {}", found(self.had_database))?;
        }
        write!(f, "  vault.key  {}", found(self.had_key))?;
        if !self.had_key {
            write!(f, " (mode 0600), for this demo alone: a real app's operator brings the key")?;
        }
        Ok(())
    }
}
