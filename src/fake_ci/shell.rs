//! Lines for a POSIX shell (IEEE Std 1003.1, section 2.2.2): values may come from anywhere, and must stay values.

/// `text` between single quotes, as one word. What no environment variable can hold, the character NUL, is left out.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', r"'\''"))
}

/// A command that says `message` on standard error and fails: an error must be safe to evaluate too.
pub fn complaint(message: &str) -> String {
    format!("printf '%s\\n' {} >&2; false\n", quoted(message))
}

/// A line that sets a variable for what is started next.
pub(super) fn export(name: &str, value: &str) -> String {
    format!("export {name}={}\n", quoted(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_does_not_end_the_word() {
        assert_eq!(quoted("it's $(here)"), r"'it'\''s $(here)'");
        assert_eq!(export("A", "a\0b"), "export A='ab'\n");
    }
}
