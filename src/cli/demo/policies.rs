//! The trust policies that are shipped.

use std::io;
use std::path::{Path, PathBuf};

/// One policy per CI system, and what they are about.
const SHIPPED: [(&str, &str); 5] = [
    (
        "acme/api.toml",
        include_str!("../../../trust-policies/acme/api.toml"),
    ),
    (
        "acme/images.toml",
        include_str!("../../../trust-policies/acme/images.toml"),
    ),
    (
        "acme/mobile.toml",
        include_str!("../../../trust-policies/acme/mobile.toml"),
    ),
    (
        "acme/site.toml",
        include_str!("../../../trust-policies/acme/site.toml"),
    ),
    (
        "acme/web.toml",
        include_str!("../../../trust-policies/acme/web.toml"),
    ),
];

/// The folder `trust-policies` here, if it is the shipped one (so that editing it shows its effect), else a copy of the
/// shipped files in `folder`.
pub(super) fn find_or_copy(folder: &Path) -> io::Result<PathBuf> {
    let here = PathBuf::from("trust-policies");
    if SHIPPED.iter().all(|(name, _)| here.join(name).is_file()) {
        return Ok(here);
    }
    let copy = folder.join("trust-policies");
    for (name, text) in SHIPPED {
        let file = copy.join(name);
        if let Some(organization) = file.parent() {
            std::fs::create_dir_all(organization)?;
        }
        std::fs::write(file, text)?;
    }
    Ok(copy)
}
