//! A folder of policies, read once: for the verbs that look at policies without serving them.

use std::path::Path;
use std::sync::Arc;

use super::folder::{Folder, Texts};
use super::{DirectoryError, FileProblem};
use crate::issuer::Registry;
use crate::trust::ProjectPolicy;

/// What a folder holds.
pub struct ReadPolicies {
    /// The policies that load, by path.
    pub policies: Vec<Arc<ProjectPolicy>>,
    /// What is wrong with the other files.
    pub problems: Vec<FileProblem>,
}

/// Reads every policy of `folder` the way the service does at its start.
pub fn read_policies(
    folder: &Path,
    registry: &Arc<Registry>,
) -> Result<ReadPolicies, DirectoryError> {
    let scan = Folder::new(folder.to_path_buf(), registry.clone(), Texts::Kept).scan()?;
    Ok(ReadPolicies {
        policies: scan.policies,
        problems: scan.problems,
    })
}
