//! Withheld values, where the source has them, against the digests in the entry.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::leaf::Reader;
use super::report::What;
use crate::digest::sha256;

/// One withheld value.
#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(borrow)]
    json: Cow<'a, str>,
}

/// Compares an object of values by pointer with the leaf that was read last, and says how many there were. Values that were
/// deleted since are not missed.
pub fn compare(values: &[u8], leaf: &Reader<'_>) -> Result<u64, What> {
    let wrong = |fault: serde_json::Error| What::WithheldForm(fault.to_string());
    let values: BTreeMap<String, Value<'_>> = serde_json::from_slice(values).map_err(wrong)?;
    for (pointer, value) in &values {
        let Some(expected) = leaf.withheld(pointer) else {
            return Err(What::WithheldUnknown(pointer.clone()));
        };
        let salt = STANDARD.decode(&*value.salt).unwrap_or_default();
        if salt.len() != 16 {
            let fault = format!("the salt of `{pointer}` is no base64 of 16 octets");
            return Err(What::WithheldForm(fault));
        }
        if sha256(&[&salt, value.json.as_bytes()].concat()) != *expected {
            return Err(What::WithheldChanged(pointer.clone()));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&value.json).map_err(wrong)?;
    }
    Ok(values.len() as u64)
}
