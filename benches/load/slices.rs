//! Files of requests: each line is the body of one.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread::available_parallelism;

use crate::drive::issuer::Issuer;
use crate::drive::tokens::form;

/// Fresh tokens, signed on all processors.
pub fn tokens(issuer: &Issuer, count: usize) -> Vec<String> {
    made(count, || issuer.signer.token())
}

/// So many of what `make` makes, made on all processors.
pub fn made(count: usize, make: impl Fn() -> String + Sync) -> Vec<String> {
    let threads = available_parallelism().map_or(1, usize::from);
    let make = &make;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let share = count / threads + usize::from(thread < count % threads);
                scope.spawn(move || (0..share).map(|_| make()).collect::<Vec<_>>())
            })
            .collect();
        let parts = parts.into_iter().map(|part| part.join().unwrap());
        parts.flatten().collect()
    })
}

/// Writes the forms that ask to exchange `tokens` for tokens of the projects that `project` names by number.
pub fn write(path: &Path, tokens: &[String], project: impl Fn(usize) -> String) {
    let forms = tokens.iter().enumerate();
    lines(
        path,
        forms.map(|(number, token)| form(token, &project(number))),
    );
}

/// Writes lines.
pub fn lines(path: &Path, lines: impl Iterator<Item = String>) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
}
