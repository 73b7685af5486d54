//! Documents, their links, and the blocks of code in them.

use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

/// One document.
pub struct Document {
    pub name: String,
    pub path: PathBuf,
    pub text: String,
}

/// A block of code between fences.
pub struct Block {
    pub language: String,
    pub text: String,
    /// The document and the line of the fence.
    pub place: String,
}

/// Every document for people but the page on the policy language, whose examples its own tests load.
pub fn documents() -> Vec<Document> {
    let mut found = Vec::new();
    collect(&root(), false, &mut found);
    for folder in ["docs", "deploy"] {
        collect(&root().join(folder), true, &mut found);
    }
    found.retain(|document| document.name != "CHANGELOG.md");
    assert!(found.len() > 12, "documents are missing");
    found
}

fn collect(folder: &Path, deep: bool, found: &mut Vec<Document>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            collect(&path, deep, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            let below = path.strip_prefix(root()).unwrap();
            found.push(Document {
                name: below.display().to_string(),
                text: std::fs::read_to_string(&path).unwrap(),
                path,
            });
        }
    }
}

impl Document {
    /// The text without its blocks of code.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut inside = false;
        self.text.lines().filter(move |line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        })
    }

    /// Where the links lead.
    pub fn links(&self) -> Vec<&str> {
        let targets = self
            .prose()
            .flat_map(|line| line.split("](").skip(1))
            .filter_map(|rest| rest.split(')').next());
        targets.collect()
    }

    /// What stands between backticks.
    pub fn code_words(&self) -> Vec<&str> {
        self.prose()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .collect()
    }

    /// The blocks of code.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(language), None) => {
                    open = Some(Block {
                        language: language.to_owned(),
                        text: String::new(),
                        place: format!("{}:{}", self.name, number + 1),
                    });
                }
                (None, Some(mut block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        blocks
    }
}

/// The blocks of all documents in one language.
pub fn blocks(language: &str) -> Vec<Block> {
    let mut found: Vec<Block> = documents().iter().flat_map(Document::blocks).collect();
    found.retain(|block| block.language == language);
    found
}

/// The anchors of a document's headings.
pub fn anchors(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}
