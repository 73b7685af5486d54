//! The path of a project, `organization/project`.

use std::fmt;
use std::sync::Arc;

/// The name of a project within its organization. It is also the place of its policy file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectPath(Arc<str>);

/// The longest organization or project name, in characters.
const LONGEST_NAME: usize = 63;

impl ProjectPath {
    /// Reads `organization/project`.
    pub fn parse(text: &str) -> Result<Self, InvalidProjectPath> {
        match text.split_once('/') {
            Some((organization, project)) if is_name(organization) && is_name(project) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidProjectPath),
        }
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The organization's name.
    pub fn organization(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The project's name within its organization.
    pub fn project(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }
}

/// Whether `text` may name an organization or a project: `[a-z0-9][a-z0-9._-]{0,62}`.
fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no project path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a project is written `organization/project`, each of 1 to 63 characters of `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter or digit"
)]
pub struct InvalidProjectPath;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_an_organization_and_a_name() {
        let path = ProjectPath::parse("acme/api").unwrap();
        assert_eq!((path.organization(), path.project()), ("acme", "api"));
    }

    #[test]
    fn what_could_leave_the_policy_folder_is_no_project() {
        for text in [
            "",
            "acme",
            "acme/",
            "/api",
            "acme/api/x",
            "../api",
            "acme/..",
            "acme/.hidden",
            "Acme/api",
            "acme/a b",
            "acme/_organization",
        ] {
            assert_eq!(ProjectPath::parse(text), Err(InvalidProjectPath), "{text}");
        }
        assert!(ProjectPath::parse(&format!("{}/x", "a".repeat(64))).is_err());
    }
}
