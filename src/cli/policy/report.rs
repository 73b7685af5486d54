//! The findings of `policy check`, for people, for programs and for code hosts.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::text::without_controls;
use crate::trust::{Inclusion, LINTS, Problem, ProjectPath, Report, Severity, WhoGetsIn};

/// What was found in one file.
pub(super) enum Checked {
    /// Findings, each with its place.
    Report(Report),
    /// A file that cannot be read.
    File {
        file: String,
        message: String,
        severity: Severity,
    },
}

/// The code of a file that cannot be read.
const UNREADABLE: &str = "file-unreadable";

/// What was found in a folder.
#[derive(Default)]
pub(super) struct Findings(Vec<Checked>);

/// Who could get in, and to which project.
pub(super) type Who = (ProjectPath, Vec<WhoGetsIn>);

/// One finding, as a row.
struct Row<'a> {
    severity: Severity,
    code: &'a str,
    file: &'a str,
    line: usize,
    message: &'a str,
    problem: Option<(&'a Report, &'a Problem)>,
}

impl Findings {
    pub(super) fn add(&mut self, checked: Checked) {
        self.0.push(checked);
    }

    /// The same with the names of files as they are from outside the folder.
    pub(super) fn below(self, folder: &str) -> Self {
        let all = self.0.into_iter().map(|checked| match checked {
            Checked::Report(report) => Checked::Report(report.below(folder)),
            Checked::File {
                file,
                message,
                severity,
            } => Checked::File {
                file: format!("{}/{file}", folder.trim_end_matches('/')),
                message,
                severity,
            },
        });
        Self(all.collect())
    }

    /// Drops what is not about `file`.
    pub(super) fn keep_only(&mut self, file: &str) {
        self.0.retain(|checked| match checked {
            Checked::Report(report) => report.file().name() == file,
            Checked::File { file: own, .. } => own == file,
        });
    }

    /// The severity of the worst finding.
    pub(super) fn worst(&self) -> Option<Severity> {
        self.rows().map(|row| row.severity).max()
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut rows: Vec<Row<'_>> = self.0.iter().flat_map(rows).collect();
        rows.sort_by_key(|row| (row.file, row.line));
        rows.into_iter()
    }
}

fn rows(checked: &Checked) -> Vec<Row<'_>> {
    match checked {
        Checked::File {
            file,
            message,
            severity,
        } => vec![Row {
            severity: *severity,
            code: UNREADABLE,
            file,
            line: 1,
            message,
            problem: None,
        }],
        Checked::Report(report) => {
            let problems = report.problems().iter();
            problems
                .map(|problem| Row {
                    severity: problem.severity(),
                    code: problem.code(),
                    file: report.file().name(),
                    line: problem.line(),
                    message: problem.message(),
                    problem: Some((report, problem)),
                })
                .collect()
        }
    }
}

/// Writes excerpts with their findings, coloured on a terminal, and a line that counts them.
pub(super) fn text(findings: &Findings, who: Option<&Who>, policies: usize) {
    let mut text = String::new();
    if let Some((project, entries)) = who {
        text.push_str(&without_controls(&in_words(project, entries)));
    }
    for checked in &findings.0 {
        match checked {
            Checked::Report(report) if report.problems().is_empty() => {}
            Checked::Report(report) => {
                // The excerpts make escapes visible by themselves; what is left of them are colours.
                let excerpts = report.render(true);
                let parts: Vec<String> = excerpts.split('\x1b').map(without_controls).collect();
                text.push_str(&parts.join("\x1b"));
                text.push_str("\n\n");
            }
            Checked::File {
                file,
                message,
                severity,
            } => {
                let message = without_controls(message);
                let _ = write!(
                    text,
                    "{}[{UNREADABLE}]: {message}\n --> {file}\n\n",
                    severity.as_str()
                );
            }
        }
    }
    text.push_str(&summary(findings, policies));
    // Nobody may be reading any more: then there is nobody to tell.
    let _ = anstream::stdout().lock().write_all(text.as_bytes());
}

fn summary(findings: &Findings, policies: usize) -> String {
    let count = |severity: Severity| {
        findings
            .rows()
            .filter(|row| row.severity == severity)
            .count()
    };
    let counts = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
        let count = count(severity);
        let plural = if count == 1 { "" } else { "s" };
        (count, format!("{count} {}{plural}", severity.as_str()))
    });
    let said: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(_, said)| said)
        .collect();
    let said = if said.is_empty() {
        "nothing to report".to_owned()
    } else {
        said.join(", ")
    };
    let plural = if policies == 1 {
        "policy loads"
    } else {
        "policies load"
    };
    format!("{policies} {plural}: {said}\n")
}

fn in_words(project: &ProjectPath, entries: &[WhoGetsIn]) -> String {
    let mut text = format!("Who could act for {project}:\n");
    if entries.is_empty() {
        text.push_str("\n  nobody: there is no trust relationship\n");
    }
    for entry in entries {
        let _ = write!(
            text,
            "\n  {} (line {}): {}\n",
            entry.name, entry.line, entry.sentence
        );
        for (what, inclusion) in [
            ("pull requests", &entry.pull_requests),
            ("other branches", &entry.other_branches),
            ("other owners", &entry.other_owners),
        ] {
            let _ = writeln!(
                text,
                "    {what:<15} {:<7} {}",
                answer(inclusion),
                inclusion.because
            );
        }
    }
    text.push('\n');
    text
}

fn answer(inclusion: &Inclusion) -> &'static str {
    match inclusion.inside {
        Some(true) => "inside",
        Some(false) => "outside",
        None => "untold",
    }
}

/// Writes the findings as JSON.
pub(super) fn json(findings: &Findings, who: Option<&Who>) {
    let rows: Vec<Value> = findings
        .rows()
        .map(|row| {
            json!({
                "severity": row.severity,
                "code": row.code,
                "file": row.file,
                "line": row.line,
                "message": row.message,
            })
        })
        .collect();
    let mut answer = json!({ "findings": rows });
    if let (Some((_, entries)), Some(answer)) = (who, answer.as_object_mut()) {
        answer.insert("who".to_owned(), json!(entries));
    }
    super::say(&format!("{answer:#}\n"));
}

/// Writes the findings as SARIF 2.1.0, for code hosts.
pub(super) fn sarif(findings: &Findings) {
    let mut rules: Vec<&str> = LINTS.iter().map(|(code, _)| *code).collect();
    for row in findings.rows() {
        if !rules.contains(&row.code) {
            rules.push(row.code);
        }
    }
    let described: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let known = LINTS.iter().find(|(code, _)| code == rule);
            let text = known.map_or("the file does not load", |(_, text)| *text);
            json!({ "id": rule, "shortDescription": { "text": text } })
        })
        .collect();
    let results: Vec<Value> = findings.rows().map(|row| result(&row, &rules)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "countersign",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    super::say(&format!("{log:#}\n"));
}

fn result(row: &Row<'_>, rules: &[&str]) -> Value {
    let mut message = row.message.to_owned();
    let mut region = json!({ "startLine": row.line });
    let mut related = Vec::new();
    if let Some((report, problem)) = row.problem {
        let more = [problem.why(), problem.help()];
        for more in more.into_iter().flatten() {
            message.push_str("\n\n");
            message.push_str(more);
        }
        let (end_line, end_column) = report.file().position(problem.span().end);
        region = json!({
            "startLine": row.line,
            "startColumn": problem.column(),
            "endLine": end_line,
            "endColumn": end_column,
        });
        if let Some((file, span, label)) = problem.other_place() {
            let (line, column) = file.position(span.start);
            related.push(json!({
                "message": { "text": label },
                "physicalLocation": {
                    "artifactLocation": { "uri": uri(file.name()) },
                    "region": { "startLine": line, "startColumn": column },
                },
            }));
        }
    }
    let mut result = json!({
        "ruleId": row.code,
        "ruleIndex": rules.iter().position(|rule| *rule == row.code),
        "level": row.severity.as_str(),
        "message": { "text": message },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(row.file) },
            "region": region,
        }}],
    });
    if let (false, Some(result)) = (related.is_empty(), result.as_object_mut()) {
        result.insert("relatedLocations".to_owned(), Value::Array(related));
    }
    result
}

/// A path as a relative reference (RFC 3986, section 4.2), which SARIF asks for.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
