//! One connection to a service, which is kept open between requests.

use std::io::{BufRead as _, BufReader, Error, Read as _, Result, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::tokens::form;

/// A service that says nothing for so long says nothing any more.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection.
pub struct Connection(BufReader<TcpStream>);

/// An answer: its status, after how many seconds it asks to come again, and its body.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<u64>,
    pub text: String,
}

impl Answer {
    /// A member of the answer, if the answer is an object and the member a text.
    pub fn member(&self, name: &str) -> Option<String> {
        let json: Value = serde_json::from_str(&self.text).ok()?;
        Some(json.get(name)?.as_str()?.to_owned())
    }
}

impl Connection {
    /// Connects to `http://host:port`.
    pub fn open(base: &str) -> Result<Self> {
        let stream = TcpStream::connect(base.trim_start_matches("http://"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Gets a path.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"))
    }

    /// Exchanges `token` for a token of `project`, as a caller behind a proxy that says its address.
    pub fn exchange(&mut self, token: &str, project: &str, address: &str) -> Result<Answer> {
        let body = form(token, project);
        self.request(&format!(
            "POST /oauth/token HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n\
            X-Forwarded-For: {address}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Gets what may be no text: its status and its octets.
    pub fn get_octets(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        let (status, _, body) =
            self.octets(&format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"))?;
        Ok((status, body))
    }

    fn request(&mut self, request: &str) -> Result<Answer> {
        let (status, retry_after, body) = self.octets(request)?;
        let text = String::from_utf8(body).map_err(Error::other)?;
        Ok(Answer {
            status,
            retry_after,
            text,
        })
    }

    fn octets(&mut self, request: &str) -> Result<(u16, Option<u64>, Vec<u8>)> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::other("no status"))?;
        let (mut length, mut retry_after) = (0, None);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(Error::other)?;
            }
            if let Some(value) = line.strip_prefix("retry-after:") {
                retry_after = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, retry_after, body))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(Error::other("hung up"));
        }
        Ok(line.trim_end().to_owned())
    }
}
