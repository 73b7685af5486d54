//! An issuer on a loopback port that answers as it is told, and counts what it is asked.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;
use tokio::sync::watch;

/// What one path answers.
#[derive(Clone)]
pub enum Answer {
    /// 200 with this JSON.
    Json(Value),
    /// A status, a content type and a body.
    Text(u16, &'static str, String),
    /// A redirect to this address.
    Redirect(String),
    /// 200 and a body in chunks, for as long as anybody listens.
    Endless,
    /// No answer: the connection is closed.
    HangUp,
    /// This answer, but not before [`FakeIssuer::release`].
    Held(Box<Answer>),
}

/// The issuer. A path that was told nothing answers 404.
pub struct FakeIssuer {
    address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answers: Mutex<HashMap<String, Answer>>,
    /// How often each path was asked.
    asked: watch::Sender<HashMap<String, usize>>,
    released: Mutex<bool>,
    release: Condvar,
}

impl FakeIssuer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let of_server = state.clone();
        // Plain threads, which stall nothing while an answer is held back. They end with the test's process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = of_server.clone();
                std::thread::spawn(move || state.serve(connection));
            }
        });
        Self { address, state }
    }

    /// Its address, without a path.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on `path` answers so.
    pub fn answers(&self, path: &str, answer: Answer) {
        let mut answers = self.state.answers.lock().unwrap();
        answers.insert(path.to_owned(), answer);
    }

    /// Lets all answers go that are held back, those to come too.
    pub fn release(&self) {
        *self.state.released.lock().unwrap() = true;
        self.state.release.notify_all();
    }

    /// How often `path` was asked.
    pub fn count(&self, path: &str) -> usize {
        self.state.asked.borrow().get(path).copied().unwrap_or(0)
    }

    /// How often it was asked at all.
    pub fn count_of_all(&self) -> usize {
        self.state.asked.borrow().values().sum()
    }

    /// Waits until `path` was asked `times` times.
    pub async fn asked(&self, path: &str, times: usize) {
        let enough =
            |asked: &HashMap<String, usize>| asked.get(path).is_some_and(|count| *count >= times);
        let mut asked = self.state.asked.subscribe();
        asked.wait_for(enough).await.unwrap();
    }
}

impl State {
    fn serve(&self, mut connection: TcpStream) {
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
        let Some(Ok(request)) = lines.next() else {
            return;
        };
        // The head ends with an empty line; no request here has a body.
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let answer = self.answers.lock().unwrap().get(&path).cloned();
        self.asked
            .send_modify(|asked| *asked.entry(path).or_default() += 1);
        let not_found = Answer::Text(404, "text/plain", "no such path".to_owned());
        // A client that stopped listening is what some tests are about.
        let _gone = self.answer(&mut connection, answer.unwrap_or(not_found));
    }

    fn answer(&self, connection: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
        match answer {
            Answer::Json(json) => reply(connection, 200, "application/json", "", &json.to_string()),
            Answer::Text(status, content_type, body) => {
                reply(connection, status, content_type, "", &body)
            }
            Answer::Redirect(to) => {
                let location = format!("Location: {to}\r\n");
                reply(connection, 302, "text/plain", &location, "")
            }
            Answer::Endless => {
                connection.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                )?;
                let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
                loop {
                    connection.write_all(chunk.as_bytes())?;
                }
            }
            Answer::HangUp => Ok(()),
            Answer::Held(answer) => {
                let held = self.released.lock().unwrap();
                drop(self.release.wait_while(held, |released| !*released));
                self.answer(connection, *answer)
            }
        }
    }
}

fn reply(
    connection: &mut TcpStream,
    status: u16,
    content_type: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<()> {
    let length = body.len();
    connection.write_all(
        format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
        )
        .as_bytes(),
    )
}
