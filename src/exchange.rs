//! The story: verify, decide, spend and record, answer.
//!
//! [`Exchange::run`] is an exchange from end to end. What becomes of one that is refused stands in `denial`, and what is
//! known of an exchange at each of its steps in `trail`.

mod denial;
mod trail;

use std::collections::HashMap;
use std::sync::Arc;

pub use denial::{ExchangeError, Refused};

use tracing::Instrument as _;
use trail::{Stage, Trail};

use crate::audit::{DecisionId, Outcome, Record};
use crate::clock::{Clock, Seconds, UnixTime};
use crate::directory::{Audience, Directory, Project};
use crate::discovery::KeyDirectory;
use crate::issuer::{Match, PublicKey, Registry, TrustedIssuer};
use crate::ledger::{DenialAllowance, Ledger, Spend, Spent, StoreUnavailable, remember_until};
use crate::project_token::{Holder, KeyRing, ProjectToken, UnsignedToken, prepare};
use crate::subject::{InvalidToken, SignedClaims, SubjectToken, VerifiedClaims};
use crate::telemetry::step;
use crate::trust::{Circumstances, Grant, Limits, PinWish, Wish, answer};

/// Exchanges subject tokens for project tokens (RFC 8693).
pub struct Exchange {
    /// The one source of time.
    pub clock: Arc<dyn Clock>,
    /// The issuers that are believed.
    pub registry: Arc<Registry>,
    /// Their keys.
    pub keys: KeyDirectory,
    /// The projects and their policies.
    pub directory: Arc<Directory>,
    /// The durable memory.
    pub ledger: Arc<dyn Ledger>,
    /// Our signing keys.
    pub ring: Arc<KeyRing>,
    /// How many denials of unproven callers are still recorded.
    pub allowance: DenialAllowance,
    /// Our issuer name.
    pub public_url: String,
    /// The lifetimes that the configuration allows.
    pub limits: Limits,
    /// How long names without ids may go unused after their first load.
    pub pin_window: Seconds,
}

/// What a caller asks for, in the form that the wire allows.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// The text of the subject token.
    pub subject_token: String,
    /// The project, as the caller wrote it.
    pub audience: String,
    /// The project, as it was read.
    pub project: Audience,
    /// Scopes and resource.
    pub wish: Wish,
    /// Who asks.
    pub caller: Caller,
}

/// What is known of a caller besides its token.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Its address, behind trusted proxies.
    pub address: Option<String>,
    /// Its `User-Agent`, shortened.
    pub user_agent: Option<String>,
    /// Whether those like it failed so often that a failure, unless it proves an identity, is worth no record.
    pub fails_often: bool,
}

/// An exchange that was allowed, and is on record.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: ProjectToken,
    /// How long it lives, in seconds.
    pub expires_in: i64,
    /// Its scopes, separated by spaces.
    pub scope: String,
    /// The name of the issuer in the configuration.
    pub issuer: Arc<str>,
    /// The name of the decision.
    pub decision_id: DecisionId,
    /// The number of its entry in the log, from 0.
    pub audit_index: u64,
}

/// How often an exchange decides at most: it does so anew if other ids were pinned to its names since it looked. Only
/// resets, each of them an operator's, can bring it to more than two.
const MOST_DECISIONS: usize = 4;

impl Exchange {
    /// One exchange. No token leaves before its record is on disk, and the subject token is spent only once the policy
    /// has said yes, so that a refused one can be tried again when the policy is mended.
    pub async fn run(&self, request: ExchangeRequest) -> Result<Issued, Refused> {
        let now = self.clock.now();
        let mut trail = Trail::new(&request, self.directory.find(&request.project));
        match self.steps(&request, now, &mut trail).await {
            Ok(issued) => Ok(issued),
            Err(error) => {
                let refused = self.refuse(error, trail, now);
                Err(refused.instrument(step!("record")).await)
            }
        }
    }

    /// The steps of an exchange, in their order. `trail` keeps what each of them saw, for the record.
    async fn steps(
        &self,
        request: &ExchangeRequest,
        now: UnixTime,
        trail: &mut Trail<'_>,
    ) -> Result<Issued, ExchangeError> {
        let verified = self.verify(request, now, trail);
        let claims = verified.instrument(step!("verify")).await?;
        // Only now, since keys may have been waited for: a policy that was tightened meanwhile acts at once.
        let project = trail.asked_for(self.directory.find(&request.project));
        self.directory.settled()?;
        let project = &*project.ok_or_else(ExchangeError::no_such_project)?;
        for _ in 0..MOST_DECISIONS {
            let circumstances = self.circumstances(project, &claims, now).await?;
            let grant = step!("decide")
                .in_scope(|| self.decide(project, &claims, &request.wish, circumstances, trail))?;
            let pins = grant.pins().to_vec();
            let holder = Holder {
                path: &project.path,
                id: &project.id,
            };
            let token = prepare(grant, holder, &claims, &self.public_url, now);
            let recorded = self.spend_and_record(&token, &claims, pins, now, trail);
            let recorded = recorded.instrument(step!("commit")).await?;
            if let Some((decision_id, audit_index)) = recorded {
                return Ok(Issued {
                    token: step!("sign").in_scope(|| self.ring.sign(&token, now))?,
                    expires_in: token.expires_in(),
                    scope: token.scope().to_owned(),
                    issuer: claims.trusted().name.clone(),
                    decision_id,
                    audit_index,
                });
            }
        }
        Err(StoreUnavailable("pins changed while the exchange was decided".to_owned()).into())
    }

    /// Finds the registered issuer and its key, checks the signature, and takes the claims.
    async fn verify(
        &self,
        request: &ExchangeRequest,
        now: UnixTime,
        trail: &mut Trail<'_>,
    ) -> Result<VerifiedClaims, ExchangeError> {
        let token = SubjectToken::read(request.subject_token.clone())?;
        let unverified_issuer = token.unverified_issuer()?.to_owned();
        let found = self.registry.find(&unverified_issuer);
        let (trusted, matched) =
            found.ok_or_else(|| InvalidToken::issuer_unknown(&unverified_issuer))?;
        trail.reached(Stage::IssuerFound {
            trusted: trusted.clone(),
            matched: matched.clone(),
        });

        let keys = self.keys_for(&token, &trusted, &matched);
        let keys = keys.instrument(step!("keys")).await?;
        let signed: SignedClaims = token.check_signature(trusted, matched, &keys)?;
        match signed.accept(&self.public_url, now) {
            Ok(claims) => {
                trail.reached(Stage::Verified(claims.clone()));
                Ok(claims)
            }
            Err(rejected) => {
                trail.reached(Stage::Signed(rejected.signed));
                Err(rejected.fault.into())
            }
        }
    }

    /// The keys that the issuer publishes under the name in the token's header.
    async fn keys_for(
        &self,
        token: &SubjectToken,
        trusted: &TrustedIssuer,
        matched: &Match,
    ) -> Result<Arc<[PublicKey]>, ExchangeError> {
        // A symmetric or unknown algorithm is refused before anybody is asked for a key.
        token.algorithm()?;
        let kid = token.key_id().ok_or_else(InvalidToken::no_key_named)?;
        let named = matched.organization.as_deref().is_none_or(|organization| {
            self.directory
                .names_organization(&trusted.name, organization)
        });
        self.keys
            .keys(trusted, matched, kid, named)
            .await
            .map_err(|fault| ExchangeError::without_key(&fault, trusted))
    }

    /// What is remembered of the names that the policy has no ids for.
    async fn circumstances(
        &self,
        project: &Project,
        claims: &VerifiedClaims,
        now: UnixTime,
    ) -> Result<Circumstances, ExchangeError> {
        let used = project.policy.names_used(claims);
        let names = if used.is_empty() {
            HashMap::new()
        } else {
            self.ledger.name_states(used).await?
        };
        Ok(Circumstances {
            now,
            names,
            pin_window: self.pin_window,
        })
    }

    /// Asks the project's policy. Why it says what it says is put into words only where somebody will read them.
    fn decide(
        &self,
        project: &Project,
        claims: &VerifiedClaims,
        wish: &Wish,
        circumstances: Circumstances,
        trail: &mut Trail<'_>,
    ) -> Result<Grant, ExchangeError> {
        let answer = answer(&project.policy, claims, wish, &self.limits, &circumstances);
        trail
            .answered(answer, circumstances)
            .map_err(|refusal| ExchangeError::NotGranted {
                description: trail.told_of(&refusal, self.limits),
                refusal,
            })
    }

    /// One commit: the names keep their ids, the token is spent, and the record says for what. Answers the record's name
    /// and its number in the log; `None` if other ids were
    /// pinned to the names since the decision.
    async fn spend_and_record(
        &self,
        token: &UnsignedToken<'_>,
        claims: &VerifiedClaims,
        pins: Vec<PinWish>,
        now: UnixTime,
        trail: &mut Trail<'_>,
    ) -> Result<Option<(DecisionId, u64)>, ExchangeError> {
        let max_uses = claims.trusted().max_uses;
        let record = Record {
            trust: token.trust().iter().map(ToString::to_string).collect(),
            renamed: trail.renamed().to_vec(),
            scopes: token.scope().split(' ').map(str::to_owned).collect(),
            token_id: Some(token.id().to_owned()),
            token_expires: Some(token.expires()),
            ..trail.record(Outcome::Allowed, now)
        };
        let decision_id = record.decision_id;
        let until = remember_until(claims.expires());
        let spend = Spend {
            key: claims.spent_key(),
            max_uses,
            until,
            pins,
        };
        match self.ledger.spend(spend, record).await? {
            Spent::Nth { index, .. } => Ok(Some((decision_id, index))),
            Spent::Exhausted => Err(ExchangeError::Spent { max_uses }),
            Spent::IdentityChanged(_) => Ok(None),
        }
    }
}
