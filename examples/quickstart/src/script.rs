//! The same without a browser: every step, and what it left in the database.

use vault_core::store::ConnectionStatus;
use vault_core::{Callback, ConnectionInfo, ErrorKind, SessionBinding};

use crate::calendar::{self, Calendar, CalendarError};
use crate::demo::{ALICE, BOB, CLIENT_SECRET, Demo, User};
use crate::folder::Folder;
use crate::storage::Storage;
use crate::{Result, page};

/// Nobody listens there: the script follows the redirect itself.
const REDIRECT_URI: &str = "http://127.0.0.1:4180/connect/callback";
/// Of sealed bytes, so many are shown.
const SHOWN: usize = 48;

/// Runs all of it. It leaves Bob connected, for the next run to find.
pub(crate) async fn run(folder: Folder, storage: &Storage) -> Result<()> {
    println!("The token vault in a few steps. No browser, no account anywhere, nothing leaves this machine.");
    let demo = Demo::start(folder, storage, REDIRECT_URI.to_owned()).await?;
    let mut tour = Tour { demo: &demo, step: 0 };
    let done = tour.take().await;
    demo.stop().await;
    done
}

struct Tour<'a> {
    demo: &'a Demo,
    step: usize,
}

impl Tour<'_> {
    async fn take(&mut self) -> Result<()> {
        self.open();
        self.connector().await?;
        let from_before = self.demo.connection(BOB).await?;
        if let Some(connection) = &from_before {
            self.find(connection).await?;
        }
        self.title("Alice connects her account");
        self.connect(ALICE).await?;
        self.show_stored().await?;
        self.title("The app reads Alice's calendar with her token");
        show_calendar(&calendar::read(self.demo, ALICE).await?);
        self.refresh().await?;
        self.disconnect().await?;
        self.title(if from_before.is_some() {
            "Bob connects again"
        } else {
            "Bob connects, and stays connected for the next run to find"
        });
        self.connect(BOB).await?;
        self.search().await?;
        match self.demo.storage {
            Storage::Memory => println!("\nDone. What was in memory is gone now."),
            _ => println!("\nDone. Run it again: it finds this database, and Bob's connection in it."),
        }
        Ok(())
    }

    fn title(&mut self, title: &str) {
        self.step += 1;
        println!("\n{:>2}. {title}", self.step);
    }

    fn open(&mut self) {
        self.title("Open the vault");
        for line in self.demo.folder.to_string().lines() {
            println!("    {line}");
        }
        println!("      storage    {}", self.demo.storage);
        println!("    The vault starts only if the key opens what the database holds.");
        println!("    The provider, \"Demo Calendar\", is simulated at {}.", self.demo.provider.issuer());
    }

    /// The app's own OAuth client at the provider. An administrator registers it once.
    async fn connector(&mut self) -> Result<()> {
        let Demo { connector, had_connector, opened, .. } = self.demo;
        let name = connector.name();
        self.title(&if *had_connector {
            format!("Find the connector \"{name}\" by its name")
        } else {
            format!("Register the connector \"{name}\": the app's OAuth client at the provider")
        });
        println!("    id         {}", connector.id());
        println!("    client id  {}, with a secret that nothing gives back", connector.client_id());
        println!("    scopes     {}", connector.scopes().collect::<Vec<_>>().join(" "));
        let record = opened.stores.connectors.find(&Default::default(), name).await?;
        let record = record.ok_or("the connector is not stored")?;
        show_sealed("client id, client secret, scopes and provider, as stored", &record.sealed);
        Ok(())
    }

    /// What the run before left.
    async fn find(&mut self, connection: &ConnectionInfo) -> Result<()> {
        self.title("Find Bob's connection from an earlier run");
        show_connection(connection);
        self.title("The app reads Bob's calendar with the token from the database");
        match calendar::read(self.demo, BOB).await {
            Ok(calendar) => show_calendar(&calendar),
            Err(CalendarError::Vault(error))
                if matches!(error.kind(), ErrorKind::NeedsReauthorization { .. }) =>
            {
                println!(
                    "    The token opens, but this provider lives in the process and has forgotten every token it"
                );
                println!(
                    "    ever issued, as if Bob had taken the access away. It refused the access token (401), and"
                );
                println!("    then the refresh token: only that makes the vault say so.");
                println!("    error      {error}");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The browser's part is played here: start, visit the provider, come back with the callback.
    async fn connect(&self, user: &User) -> Result<()> {
        let Demo { vault, connector, provider, .. } = self.demo;
        // In a web app: from the session cookie. Here, any secret that start and callback share.
        let binding = SessionBinding::new(format!("the session of {}'s browser", user.name))?;
        let started = vault.user(user.id).connect(connector.id()).start(&binding).await?;
        let callback = provider.browse(started.url().clone()).as_account(user.email).await?;
        let callback = Callback::from_query(callback.query().unwrap_or_default())?;
        vault.complete(callback, &binding).await?;
        let connection = self.demo.connection(user).await?.ok_or("the connection is not listed")?;
        println!("    The browser goes to the provider and comes back with a code; the vault exchanges it.");
        show_connection(&connection);
        Ok(())
    }

    async fn show_stored(&mut self) -> Result<()> {
        self.title("What the database now holds of that");
        let stores = &self.demo.opened.stores;
        let connection = self.demo.connection(ALICE).await?.ok_or("the connection is not listed")?;
        let record = stores.connections.get(connection.key()).await?.ok_or("the connection is not stored")?;
        println!("    In clear, because queries need it: user id, connector, status, generation and times.");
        println!(
            "    Sealed bytes begin with a format version and the id of their key; the rest is noise without it."
        );
        show_sealed("account, scopes and config, which listings open", &record.summary);
        show_sealed("access and refresh token, which listings do not even load", &record.credential);
        Ok(())
    }

    async fn refresh(&mut self) -> Result<()> {
        self.title("Refresh, long before the token ends");
        let connector = self.demo.connector.id();
        let before = self.demo.vault.user(ALICE.id).token(connector).await?;
        let after = self.demo.vault.user(ALICE.id).token(connector).fresh().await?;
        let lives = |token: &str| if self.demo.provider.is_live(token) { "live" } else { "dead" };
        println!("    generation {} -> {}", before.generation(), after.generation());
        println!(
            "    new token  {} at the provider, {}",
            lives(after.expose_secret()),
            ends(after.expires_at())
        );
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<()> {
        self.title("Alice disconnects");
        let owner = self.demo.vault.user(ALICE.id);
        let token = owner.token(self.demo.connector.id()).await?;
        let outcome = owner.disconnect(self.demo.connector.id()).await?;
        let lives = self.demo.provider.is_live(token.expose_secret());
        println!("    outcome    {outcome:?}");
        println!("    her token  {} at the provider", if lives { "still live" } else { "dead" });
        match owner.token(self.demo.connector.id()).await {
            Ok(_) => return Err("a token was read after the disconnect".into()),
            Err(error) => println!("    next read  {:?}", error.kind()),
        }
        Ok(())
    }

    /// The promise, checked on what is stored.
    async fn search(&mut self) -> Result<()> {
        self.title("Search what is stored for every secret of this run");
        let mut secrets = self.demo.provider.issued();
        secrets.extend(self.demo.provider.received());
        secrets.push(CLIENT_SECRET.to_owned());
        let bytes = self.demo.opened.contents(&self.demo.folder).await?;
        let found = |secret: &String| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        println!("    searched   {}: {} KiB", self.demo.storage, bytes.len().div_ceil(1024));
        println!("    for        {} codes, tokens, states, verifiers and client secrets", secrets.len());
        match secrets.iter().filter(|secret| found(secret)).count() {
            0 => println!("    found      none"),
            found => return Err(format!("{found} secrets are in the database").into()),
        }
        Ok(())
    }
}

fn show_connection(connection: &ConnectionInfo) {
    let unknown = "unknown";
    println!(
        "    account    {} <{}>",
        connection.account_name().unwrap_or(unknown),
        connection.account_email().unwrap_or(unknown)
    );
    println!("    scopes     {}", connection.scopes().collect::<Vec<_>>().join(" "));
    match connection.status() {
        ConnectionStatus::NeedsReauthorization(reason) => {
            println!("    status     needs reauthorization: {reason}");
        }
        _ => println!("    status     active"),
    }
    println!("    token      generation {}, {}", connection.generation(), ends(connection.expires_at()));
}

fn ends(moment: Option<std::time::SystemTime>) -> String {
    moment.map_or_else(|| "no known end".to_owned(), |end| format!("ends {}", page::from_now(end)))
}

fn show_calendar(calendar: &Calendar) {
    println!("    calendar   {}", calendar.account);
    for event in &calendar.events {
        println!("               {}  {}", event.start, event.title);
    }
}

/// The beginning, as bytes and as the text that they are not.
fn show_sealed(what: &str, sealed: &[u8]) {
    println!("    sealed     {what}: {} bytes", sealed.len());
    for row in sealed[..sealed.len().min(SHOWN)].chunks(16) {
        let hex: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text: String =
            row.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' }).collect();
        println!("               {hex:<48} {text}");
    }
    if sealed.len() > SHOWN {
        println!("               and {} more", sealed.len() - SHOWN);
    }
}
