//! Foreign text, made fit to stand in a message: what others chose can forge no line of a log and no part of an answer.

use std::fmt::Write as _;

/// The first `most` printable ASCII characters of `text`, others left out: for what a caller is told.
pub fn printable(text: &str, most: usize) -> String {
    let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    text.chars().filter(printable).take(most).collect()
}

/// The first `most` characters of `text`, control characters left out: for what an operator reads.
pub fn on_one_line(text: &str, most: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(most)
        .collect()
}

/// The text, with `?` for what a terminal would obey rather than show: whoever names a branch chooses what a token holds.
pub fn for_terminal(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// The first `most` characters of `text`, as `error_description` may have them (RFC 6749, section 5.2): others become `?`.
pub fn describable(text: &str, most: usize) -> String {
    let allowed = |c: char| matches!(c, '\x20'..='\x21' | '\x23'..='\x5B' | '\x5D'..='\x7E');
    text.chars()
        .map(|c| if allowed(c) { c } else { '?' })
        .take(most)
        .collect()
}

/// The text with every character that steers a terminal, or turns the direction of writing, as `\u001b`: JSON and TOML read it
/// so too. Line ends and tabs stay.
pub fn without_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) && !matches!(c, '\n' | '\t') {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, line separators and marks that change the direction of a text.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_begins_no_line_of_its_own() {
        let text = "a\n{\"level\":\"x\"}\u{1b}[31mü";
        assert_eq!(printable(text, 200), "a{\"level\":\"x\"}[31m");
        assert_eq!(on_one_line(text, 200), "a{\"level\":\"x\"}[31mü");
        assert_eq!(on_one_line(text, 3), "a{\"");
    }

    #[test]
    fn nothing_steers_a_terminal_and_json_stays_json() {
        let text = "\"a\u{9b}31m\u{202e}\u{7f}\"\n";
        let shown = without_controls(text);
        assert_eq!(shown, "\"a\\u009b31m\\u202e\\u007f\"\n");
        let read: String = serde_json::from_str(&shown).unwrap();
        assert_eq!(format!("\"{read}\"\n"), text);
    }

    #[test]
    fn a_description_keeps_to_the_characters_of_rfc_6749() {
        assert_eq!(describable("a \"b\" \\ \n ü ~ x", 13), "a ?b? ? ? ? ~");
    }
}
