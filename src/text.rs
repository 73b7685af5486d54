//! Foreign text, made fit to stand in a message: what others chose can forge no line of a log and no part of an answer.

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
    fn a_description_keeps_to_the_characters_of_rfc_6749() {
        assert_eq!(describable("a \"b\" \\ \n ü ~ x", 13), "a ?b? ? ? ? ~");
    }
}
