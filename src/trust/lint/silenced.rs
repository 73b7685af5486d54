//! Findings that an operator has seen and accepts, with a reason, where they stand.

use super::super::entry::Silence;
use super::super::fault::{Problem, Severity};
use super::super::read::nearest;
use super::{codes, silences};

/// The findings that are left once those silenced are taken away.
pub(super) struct Kept<'a> {
    of_file: &'a [Silence],
    of_file_used: Vec<bool>,
    problems: Vec<Problem>,
}

impl<'a> Kept<'a> {
    /// `of_file` is what the file as a whole silences.
    pub(super) fn new(of_file: &'a [Silence]) -> Self {
        Self {
            of_file,
            of_file_used: vec![false; of_file.len()],
            problems: Vec::new(),
        }
    }

    /// Keeps what neither the entry nor the file silences, and reports silences of the entry that silence nothing.
    pub(super) fn of_entry(&mut self, silence: &[Silence], found: Vec<Problem>) {
        let mut used = vec![false; silence.len()];
        for problem in found {
            let code = problem.code();
            let places = [
                silences(silence, code).and_then(|at| used.get_mut(at)),
                silences(self.of_file, code).and_then(|at| self.of_file_used.get_mut(at)),
            ];
            match places.into_iter().flatten().next() {
                Some(used) => *used = true,
                None => self.problems.push(problem),
            }
        }
        self.problems.extend(unused(silence, &used));
    }

    /// All that is left, with the silences of the file that silence nothing.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems
            .extend(unused(self.of_file, &self.of_file_used));
        self.problems
    }
}

fn unused(silence: &[Silence], used: &[bool]) -> Vec<Problem> {
    let idle = silence.iter().zip(used).filter(|(_, used)| !**used);
    idle.map(|(silence, _)| {
        let code = &silence.code;
        let problem = |message: String, label: &str| {
            Problem::new("silence-unused", silence.at.into(), message, label)
        };
        if codes().any(|known| known == &**code) {
            return problem(format!("`{code}` does not occur here"), "silences nothing")
                .of(Severity::Note)
                .because("once the finding is back, nobody will hear of it")
                .mend("take it out");
        }
        let problem = problem(
            format!("there is no finding called `{code}`"),
            "unknown code",
        )
        .of(Severity::Warning);
        match nearest(code, codes()) {
            Some(meant) => problem.mend(format!("did you mean `{meant}`?")),
            None => {
                problem.mend("take it out; errors that keep a file from loading cannot be silenced")
            }
        }
    })
    .collect()
}
