use std::io;
use std::net::{IpAddr, Ipv4Addr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// How a [`Relay`] does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Works,
    /// Nothing comes through, and nothing fails.
    Hangs,
    /// What was connected is not any more, and nobody connects.
    Cut,
}

/// Passes on what clients and a server say to each other, until told otherwise. It ends with this value.
#[derive(Debug)]
pub struct Relay {
    url: Url,
    line: watch::Sender<Line>,
}

impl Relay {
    /// To the server of that URL.
    pub async fn to(server: &str) -> Self {
        let mut url = Url::parse(server).expect("a URL");
        let server = (url.host_str().expect("a host").to_owned(), url.port().expect("a port"));
        url.set_ip_host(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("it has a host");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        url.set_port(Some(port)).expect("it has a host");
        let (line, state) = watch::channel(Line::Works);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), state.clone()));
            }
        });
        Self { url, line }
    }

    /// Where the server is, through here.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Ends all connections, and takes no more.
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Says nothing any more, and ends no connection until it is cut.
    pub fn hang(&self) {
        self.line.send_replace(Line::Hangs);
    }

    /// Works again, for who connects anew.
    pub fn mend(&self) {
        self.line.send_replace(Line::Works);
    }
}

async fn pass(
    mut client: TcpStream,
    server: (String, u16),
    mut line: watch::Receiver<Line>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    // The line is gone when nobody can change it any more.
    tokio::select! {
        biased;
        _ = line.wait_for(|line| *line != Line::Works) => {}
        passed = copy_bidirectional(&mut client, &mut server) => return passed.map(drop),
    }
    let _ = line.wait_for(|line| *line == Line::Cut).await;
    Ok(())
}
