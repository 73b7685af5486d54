//! The file of headers that are sent to a collector.

use std::io;
use std::path::{Path, PathBuf};

/// A file of headers that cannot be used. What is in it may be secret, and is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHeaders {
    /// It cannot be read.
    #[error("the file of headers `{file}` cannot be read: {fault}", file = .0.display(), fault = .1)]
    Unreadable(PathBuf, io::Error),
    /// A line of it is no header.
    #[error("line {line} of the file of headers `{file}` is not `Name: value`", file = .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Reads a header a line, `Name: value`. Empty lines, and those that begin with `#`, say nothing.
pub fn read_headers(file: &Path) -> Result<Vec<(String, String)>, InvalidHeaders> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|fault| InvalidHeaders::Unreadable(file.to_owned(), fault))?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let headers = lines.map(|(at, line)| {
        header(line).ok_or_else(|| InvalidHeaders::Malformed {
            file: file.to_owned(),
            line: at + 1,
        })
    });
    headers.collect()
}

/// A name of RFC 9110, section 5.6.2, and a value of visible ASCII.
fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim();
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    let good = !name.is_empty()
        && name.bytes().all(is_name)
        && value.bytes().all(|octet| (b' '..=b'~').contains(&octet));
    good.then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        std::fs::write(&file, text).unwrap();
        read_headers(&file).map_err(|fault| fault.to_string())
    }

    #[test]
    fn each_line_is_a_header() {
        let headers = read("# of the collector\nAuthorization: Basic abc=\n\nX-Scope-OrgID:7\n");
        let expected = [("Authorization", "Basic abc="), ("X-Scope-OrgID", "7")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers.unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_none_is_named_and_not_repeated() {
        for line in ["secret", ": secret", "a b: secret", "a: secret\u{1}"] {
            let said = read(&format!("x: 1\n{line}\n")).unwrap_err();
            assert!(
                said.contains("line 2") && !said.contains("secret"),
                "{said}"
            );
        }
    }
}
