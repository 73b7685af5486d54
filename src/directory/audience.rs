//! How a caller names a project.

use crate::trust::ProjectPath;

/// The project that an exchange asks for: its path or its text id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// `acme/api`, or its address `<public-url>/projects/acme/api`.
    Path(ProjectPath),
    /// The text id.
    Id(String),
}

/// A text that names no project in any of the three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "audience names no project: write it as organization/project, as its id, or as its address below the public URL of this service"
)]
pub struct InvalidAudience;

impl Audience {
    /// Reads the form parameter `audience`.
    pub fn parse(text: &str, public_url: &str) -> Result<Self, InvalidAudience> {
        let below_us = text
            .strip_prefix(public_url)
            .and_then(|rest| rest.strip_prefix("/projects/"));
        if let Ok(path) = ProjectPath::parse(below_us.unwrap_or(text)) {
            return Ok(Self::Path(path));
        }
        let is_id = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if is_id {
            Ok(Self::Id(text.to_owned()))
        } else {
            Err(InvalidAudience)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "https://sts.example.com";

    #[test]
    fn a_project_is_named_by_path_address_or_id() {
        let path = Audience::Path(ProjectPath::parse("acme/api").unwrap());
        assert_eq!(Audience::parse("acme/api", US), Ok(path.clone()));
        assert_eq!(
            Audience::parse("https://sts.example.com/projects/acme/api", US),
            Ok(path)
        );
        assert_eq!(
            Audience::parse("k3m9", US),
            Ok(Audience::Id("k3m9".to_owned()))
        );
    }

    #[test]
    fn an_address_of_another_service_names_no_project() {
        for text in [
            "https://other.example/projects/acme/api",
            "https://sts.example.com.evil.example/projects/acme/api",
            "https://sts.example.com/projects/acme/api/",
            "https://sts.example.com/projects/acme",
            "acme/api/x",
            "Acme/api",
            "acme",
            "",
            " ",
        ] {
            let outcome = Audience::parse(text, US);
            assert!(
                outcome.is_err() || matches!(outcome, Ok(Audience::Id(_))),
                "{text}"
            );
        }
        assert_eq!(Audience::parse("Acme/api", US), Err(InvalidAudience));
    }
}
