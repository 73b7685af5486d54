//! The whole service, put together as the program does it, but for one part.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use countersign::audit::{DecisionId, Event, Record};
use countersign::cli::assemble::assemble_with;
use countersign::clock::{SystemClock, UnixTime};
use countersign::config::Config;
use countersign::http;
use countersign::ledger::{
    Denial, DenialKey, Ledger, RememberedNames, Spend, Spent, StoreUnavailable, Unrecorded,
};
use countersign::store::Options as StoreOptions;
use countersign::trust::{NameState, Names};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use std::collections::{BTreeMap, HashMap};

/// What it lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lacks {
    /// Its ledger keeps nothing and answers at once.
    Store,
    /// Its log has no tree.
    Tree,
}

/// Serves in a folder that `lay_out` made, until the process is killed.
pub fn serve(folder: &Path, lacks: Lacks) {
    // As the program logs when its standard error is a file.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .init();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = folder.join("countersign.toml");
        let config = Config::load(Some(&file), &BTreeMap::new());
        let config = config.unwrap_or_else(|fault| panic!("{fault}"));
        let options = StoreOptions {
            tree: lacks != Lacks::Tree,
            ..StoreOptions::default()
        };
        let assembled = assemble_with(&config, Arc::new(SystemClock), options).await;
        let mut parts = assembled.unwrap();
        if lacks == Lacks::Store {
            let service = Arc::get_mut(&mut parts.service).unwrap();
            service.exchange.ledger = Arc::new(KeepsNothing);
        }
        let listener = TcpListener::bind(config.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let server = http::serve(listener, parts.service.clone()).unwrap();
        tracing::info!(url = format!("http://{address}"), "listening");
        tokio::join!(server, parts.keep_up()).0.unwrap();
    });
}

/// A ledger for which every token is a new one.
struct KeepsNothing;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreUnavailable>>;

impl Ledger for KeepsNothing {
    fn spend(&self, _: Spend, _: Record) -> Answer<'_, Spent> {
        let spent = Spent::Nth {
            number: 1,
            index: 0,
        };
        ready(Ok(spent)).boxed()
    }

    fn record_denial(&self, denial: Denial) -> Answer<'_, DecisionId> {
        ready(Ok(denial.record.decision_id)).boxed()
    }

    fn denial_on_record(&self, _: DenialKey) -> Answer<'_, Option<DecisionId>> {
        ready(Ok(None)).boxed()
    }

    fn count_denial(&self, _: Unrecorded, _: UnixTime) {}

    fn decision(&self, _: DecisionId) -> Answer<'_, Option<Record>> {
        ready(Ok(None)).boxed()
    }

    fn name_states(&self, _: Vec<Names>) -> Answer<'_, HashMap<Names, NameState>> {
        ready(Ok(HashMap::new())).boxed()
    }

    fn pins(&self, _: Option<String>) -> Answer<'_, Vec<RememberedNames>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn reset_pin(&self, _: Names, _: String, _: UnixTime) -> Answer<'_, Option<Event>> {
        ready(Ok(None)).boxed()
    }

    fn check(&self) -> Answer<'_, ()> {
        ready(Ok(())).boxed()
    }
}
