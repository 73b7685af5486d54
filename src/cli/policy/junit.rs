//! The outcome of cases as JUnit XML, which CI systems show.

use std::fmt::Write as _;

use super::test::{CaseRun, Suite};
use crate::directory::FileProblem;

/// One suite a project; a file that does not load is a suite with an error.
pub(super) fn report(suites: &[Suite], broken: &[FileProblem]) -> String {
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let failures: usize = suites.iter().map(Suite::failures).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"countersign policy test\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\">\n",
        tests + broken.len(),
        broken.len(),
    );
    for suite in suites {
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\">",
            escaped(&suite.project),
            suite.cases.len(),
            suite.failures(),
        );
        for case in &suite.cases {
            one(&mut text, suite, case);
        }
        text.push_str("  </testsuite>\n");
    }
    for problem in broken {
        let (file, message) = (escaped(&problem.file), escaped(&problem.message));
        let _ = writeln!(
            text,
            "  <testsuite name=\"{file}\" tests=\"1\" failures=\"0\" errors=\"1\">\n    <testcase classname=\"{file}\" name=\"the file loads\">\n      <error message=\"{message}\"/>\n    </testcase>\n  </testsuite>"
        );
    }
    text.push_str("</testsuites>\n");
    text
}

fn one(text: &mut String, suite: &Suite, case: &CaseRun) {
    let _ = write!(
        text,
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\"",
        escaped(&suite.project),
        escaped(&case.name),
        escaped(&suite.file),
        case.line,
    );
    let explained = case.tried.explanation.as_ref();
    let explained = explained.map(crate::trust::Explanation::in_words);
    let _ = match &case.tried.failure {
        None => writeln!(
            text,
            ">\n      <system-out>{}</system-out>\n    </testcase>",
            escaped(&case.tried.answer)
        ),
        Some(failure) => writeln!(
            text,
            ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
            escaped(failure),
            escaped(&explained.unwrap_or_default())
        ),
    };
}

/// The text for a place in XML (1.0, section 2.2): what it cannot hold becomes `?`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            other if other < ' ' => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_does_not_break_the_report() {
        assert_eq!(
            escaped("a<b>&\"c\"\u{1}\u{1b}[31m\n"),
            "a&lt;b&gt;&amp;&quot;c&quot;??[31m\n"
        );
    }
}
