//! The discovery document (OpenID Connect Discovery 1.0, section 4.2), as far as keys go.

use openidconnect::{IssuerUrl, JsonWebKeySetUrl};
use serde::Deserialize;

use super::fault::FetchFault;
use super::fetch::Answer;
use crate::issuer::Issuer;
use crate::text::on_one_line;

/// Where the document stands below an issuer (OpenID Connect Discovery 1.0, section 4).
const PATH: &str = "/.well-known/openid-configuration";

/// The two members that matter here. Real documents lack members that the standard requires (`CircleCI`, GitHub), so
/// nothing else is asked for.
#[derive(Deserialize)]
pub(super) struct Document {
    issuer: IssuerUrl,
    jwks_uri: JsonWebKeySetUrl,
}

/// The address of the document of `issuer`.
pub(super) fn address_of(issuer: &Issuer) -> String {
    issuer.at(PATH)
}

impl Document {
    /// Reads the document.
    pub fn parse(answer: &Answer, address: &str) -> Result<Self, FetchFault> {
        serde_json::from_slice(&answer.body).map_err(|fault| FetchFault::NotADocument {
            address: address.to_owned(),
            content_type: answer.content_type.clone(),
            // What the library says of wrong data repeats the data.
            why: if fault.is_data() {
                "it lacks the texts `issuer` and `jwks_uri`, or one is not a URL"
            } else {
                "it is not JSON"
            },
        })
    }

    /// Where the keys are, if this document is the issuer's own (section 4.3: the texts must be identical) and the keys
    /// are where the issuer is.
    pub fn key_address(&self, issuer: &Issuer) -> Result<&str, FetchFault> {
        match self.faults(issuer) {
            [Some(fault), _] | [None, Some(fault)] => Err(fault),
            [None, None] => Ok(&self.jwks_uri),
        }
    }

    /// In what this document disagrees with what we know of `issuer`.
    pub fn disagreements(&self, issuer: &Issuer) -> Vec<String> {
        let faults = self.faults(issuer).into_iter().flatten();
        faults.map(|fault| fault.to_string()).collect()
    }

    fn faults(&self, issuer: &Issuer) -> [Option<FetchFault>; 2] {
        let short = |text: &str| on_one_line(text, 255);
        let other_issuer =
            (self.issuer.as_str() != issuer.as_str()).then(|| FetchFault::OtherIssuer {
                found: short(&self.issuer),
            });
        let other_origin =
            (!issuer.shares_origin_with(&self.jwks_uri)).then(|| FetchFault::OtherOrigin {
                address: short(&self.jwks_uri),
            });
        [other_issuer, other_origin]
    }
}
