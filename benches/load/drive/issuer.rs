//! An issuer on a loopback port that counts what it is asked, and can be slow or down.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::tokens::Signer;

/// The issuer. It serves until the process ends.
pub struct Issuer {
    /// What signs its tokens.
    pub signer: Arc<Signer>,
    /// Its address, which is its name.
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    url: String,
    keys: Value,
    down: AtomicBool,
    delay: AtomicU64,
    asked_for_keys: AtomicUsize,
}

impl Issuer {
    /// Starts one, on a port of its own choice.
    pub fn start() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// Starts one on this address.
    pub fn on(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signer = Arc::new(Signer::new(&url));
        let state = Arc::new(State {
            url: url.clone(),
            keys: signer.jwks(),
            ..State::default()
        });
        let serving = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = serving.clone();
                // Who hangs up in the middle of an answer is not heard.
                std::thread::spawn(move || drop(state.serve(connection)));
            }
        });
        Self { signer, url, state }
    }

    /// From now on every connection is closed without an answer, or no longer.
    pub fn down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// From now on an answer takes this long.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay.store(millis, Ordering::SeqCst);
    }

    /// How often the keys were asked for.
    pub fn asked_for_keys(&self) -> usize {
        self.state.asked_for_keys.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path == "/.well-known/jwks" {
            self.asked_for_keys.fetch_add(1, Ordering::SeqCst);
        }
        if self.down.load(Ordering::SeqCst) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
        let (status, body) = match path {
            "/.well-known/jwks" => (200, self.keys.clone()),
            "/.well-known/openid-configuration" => (200, self.discovery()),
            _ => (404, json!({})),
        };
        let body = body.to_string();
        write!(
            connection,
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn discovery(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "jwks_uri": format!("{url}/.well-known/jwks"),
            "authorization_endpoint": format!("{url}/authorize"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }
}
